"""`--dry-run`: everything that can be said of an experiment without training it."""

from __future__ import annotations

from empo_rllib.algorithms.builder import build_algorithm_config, changed_settings
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.experiment.cluster import local_resources
from empo_rllib.experiment.plan import (
    describe_samplers,
    num_gpus_per_learner,
    plan_trials,
    trial_resources,
)
from empo_rllib.experiment.run_folder import run_folder_of

_MAX_VALUE_LENGTH = 90


def render_dry_run(config: ExperimentConfig) -> str:
    """Returns the resolved experiment, RLlib settings unlike the defaults, and the resources."""
    planned = plan_trials(config)
    folder = run_folder_of(config)
    available = local_resources()
    gpus = num_gpus_per_learner(config, available)
    needed = trial_resources(planned, gpus)
    first = planned[0].setup
    settings = changed_settings(build_algorithm_config(first, gpus), config.algorithm.name)
    trials = [f"  {p.spec.trial_id}  seed {p.spec.seed}  {p.spec.params}" for p in planned]
    policies = [
        f"  {policy.name}: {', '.join(policy.agents)}{'' if policy.train else ' (frozen)'}"
        for policy in first.policies.values()
    ]
    resources = [
        f"  {name}: one trial needs {needed.get(name, 0.0):g}, this machine has {amount:g}"
        + ("" if needed.get(name, 0.0) <= amount else ": too little for a run here")
        for name, amount in available.items()
    ]
    changed = [
        f"  {key}: {_short(value)}  (default {_short(default)})"
        for key, (default, value) in settings.items()
    ]
    sampler, reason = describe_samplers(planned)
    sections = {
        "# resolved experiment": [config.to_yaml().rstrip()],
        "# results": [f"  {folder}{' (exists already)' if folder.exists() else ''}"],
        f"# trials ({len(planned)})": trials,
        "# policies": policies,
        "# sampler": [f"  {sampler} ({reason})"],
        f"# RLlib settings of {planned[0].spec.trial_id} that differ from its defaults": changed,
        "# resources": resources,
    }
    return "\n\n".join("\n".join([title, *lines]) for title, lines in sections.items())


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _MAX_VALUE_LENGTH else text[: _MAX_VALUE_LENGTH - 3] + "..."
