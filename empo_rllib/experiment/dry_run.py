"""`--dry-run`: everything that can be said of an experiment without training it."""

from __future__ import annotations

from collections.abc import Sequence

from empo_rllib.algorithms.builder import build_algorithm_config, changed_settings
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.experiment.cluster import local_resources
from empo_rllib.experiment.plan import (
    PlannedTrial,
    describe_networks,
    describe_samplers,
    num_gpus_per_learner,
    plan_trials,
    trial_resources,
)
from empo_rllib.experiment.run_folder import run_folder_of

_MAX_VALUE_LENGTH = 90
_CHOSEN_LATER = ", with values in place of those that tune.search will choose"


def render_dry_run(config: ExperimentConfig) -> str:
    """Returns the resolved experiment, RLlib settings unlike the defaults, and the resources."""
    planned = plan_trials(config)
    folder = run_folder_of(config)
    available = local_resources()
    gpus = num_gpus_per_learner(config, planned, available)
    needed = trial_resources(planned, gpus)
    first = planned[0].setup
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
    sampler, reason = describe_samplers(planned)
    sections = {
        "# resolved experiment": [config.to_yaml().rstrip()],
        "# results": [f"  {folder}{' (exists already)' if folder.exists() else ''}"],
        f"# trials ({len(planned)}){_CHOSEN_LATER * (config.tune.search is not None)}": trials,
        "# policies": policies,
        "# sampler": [f"  {sampler} ({reason})"],
        "# networks": [
            f"  {policy}: {path}" for policy, path in describe_networks(planned, gpus).items()
        ],
        **_changed_settings(planned, gpus),
        "# resources": resources,
    }
    return "\n\n".join("\n".join([title, *lines]) for title, lines in sections.items())


def _changed_settings(planned: Sequence[PlannedTrial], gpus: float) -> dict[str, list[str]]:
    """Returns a section for the first trial of each algorithm."""
    firsts: dict[str, PlannedTrial] = {}
    for trial in planned:
        firsts.setdefault(trial.setup.config.algorithm.name, trial)
    sections = {}
    for name, trial in firsts.items():
        settings = changed_settings(build_algorithm_config(trial.setup, gpus), name)
        title = f"# RLlib settings of {trial.spec.trial_id} that differ from its defaults"
        sections[title] = [
            f"  {key}: {_short(value)}  (default {_short(default)})"
            for key, (default, value) in settings.items()
        ]
    return sections


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _MAX_VALUE_LENGTH else text[: _MAX_VALUE_LENGTH - 3] + "..."
