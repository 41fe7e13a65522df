"""What each trial of an experiment runs with, and what it needs: decided before Ray starts."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from empo_rllib.algorithms.builder import build_algorithm_config, required_resources
from empo_rllib.algorithms.joining import check_joining
from empo_rllib.algorithms.networks import build_rl_modules, gains_by_gpu, why_torch
from empo_rllib.algorithms.overrides import check_overrides
from empo_rllib.algorithms.setup import TrialSetup, open_env, set_up_trial
from empo_rllib.config.policies import check_metric
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.errors import CheckpointError, ConfigError, RunError
from empo_rllib.experiment.checkpoints import (
    POLICIES,
    acting_weights,
    load_weights,
    newest_intact,
    read_policy,
)
from empo_rllib.experiment.population import Change
from empo_rllib.experiment.run_folder import absolute_source, resolve_checkpoint_policy
from empo_rllib.experiment.schedules import read_replayed
from empo_rllib.experiment.summary import ExperimentResult
from empo_rllib.rl_modules.encoders import SMALLEST_CNN_IMAGE, ImageCNN
from empo_rllib.trials import TrialSpec, has_values, resolve_trial, sample_trials

#: Of a policy whose network torch does not train.
COMPILED = "compiled kernels"

if TYPE_CHECKING:
    from ray.rllib.core.rl_module.rl_module import RLModule


@dataclass(frozen=True)
class PlannedTrial:
    """A trial and all that it runs with.

    Attributes:
        spec: its id, its seed and the values sampled for it.
        setup: what its process reads.
        why_torch: for each policy why torch trains its network, None where compiled kernels do;
            empty before the networks were built.
        gains_by_gpu: whether its networks can be expected to train faster on a GPU; True before
            they were built.
        replayed: the schedule that it follows, if any.
    """

    spec: TrialSpec
    setup: TrialSetup
    why_torch: Mapping[str, str | None] = field(default_factory=dict)
    gains_by_gpu: bool = True
    replayed: Sequence[Change] = ()


def plan_trials(config: ExperimentConfig) -> list[PlannedTrial]:
    """Samples the trials of a new run, plans them, and builds their networks once.

    With `tune.search` they stand for the trials whose values it will choose.

    Raises:
        ConfigError, CheckpointError, RunError: with what would make a trial fail.
    """
    replayed = read_replayed(config)
    planned = [
        build_new(replace(trial, replayed=replayed))
        for trial in _plan(config, sample_trials(config))
    ]
    policies = planned[0].setup.policies
    agents = [agent for policy in policies.values() for agent in policy.agents]
    for metric, _ in config.tune.objectives:
        check_metric(metric, list(policies), agents)
    return planned


def plan_resumed_trials(config: ExperimentConfig, result: ExperimentResult) -> list[PlannedTrial]:
    """Plans the same trials that the run was started with, read from its summary.

    A trial whose values `tune.search` has yet to choose is planned with others in their place.
    """
    sampled = {spec.trial_id: spec for spec in sample_trials(config)}
    specs = [trial.spec for trial in result.trials]
    return _plan(
        config, [one if has_values(config, one) else sampled[one.trial_id] for one in specs]
    )


def plan_chosen_trial(config: ExperimentConfig, spec: TrialSpec) -> PlannedTrial:
    """Plans a new trial whose values `tune.search` has just chosen.

    Raises:
        ConfigError, CheckpointError, RunError: with what would make it fail.
    """
    (planned,) = _plan(config, [spec])
    return build_new(planned)


def build_new(planned: PlannedTrial) -> PlannedTrial:
    """Builds the networks of a trial that begins anew, with the weights that policies start from.

    Raises:
        ConfigError, CheckpointError: a setting has no effect, or the weights do not fit.
    """
    setup = planned.setup
    check_overrides(setup)
    planned, modules = _build(planned)
    model = setup.config.model
    if model.conv_filters and model.class_ is None and not any(map(_has_cnn, modules.values())):
        raise ConfigError(
            f"model.conv_filters = {model.conv_filters} has no effect: no observation holds an "
            f"image of at least {SMALLEST_CNN_IMAGE} by {SMALLEST_CNN_IMAGE} pixels."
        )
    for name, policy in setup.policies.items():
        if policy.checkpoint is not None:
            weights = resolve_checkpoint_policy(policy.checkpoint, name)
            if not policy.train:
                weights = acting_weights(modules[name], weights)
            load_weights(modules[name], weights, f"policies: {name!r} from {policy.checkpoint}")
    return planned


def build_continued(planned: PlannedTrial, trial_folder: Path) -> PlannedTrial:
    """Builds the networks of a trial that continues, with the weights of its newest checkpoint.

    Raises:
        RunError: the environment has other spaces or agents now, or the network is another one.
    """
    setup = planned.setup
    check_overrides(setup)
    checkpoint = newest_intact(trial_folder, within=POLICIES)
    planned, modules = _build(planned)
    if checkpoint is None:
        return planned
    try:
        for name in setup.policies:
            load_weights(modules[name], read_policy(checkpoint, name), f"policy {name!r}")
    except CheckpointError as error:
        raise RunError(
            f"{trial_folder} cannot be resumed from {checkpoint.name}: the spaces or agents of "
            f"{setup.config.env.id}, or the network, have changed since. Change them back, or use "
            f"another name.\n{error}"
        ) from error
    return planned


def num_gpus_per_learner(
    config: ExperimentConfig, planned: Sequence[PlannedTrial], available: Mapping[str, float]
) -> float:
    """Resolves `auto`: one GPU where there is one and a trial can be expected to gain by it."""
    asked = config.resources.num_gpus_per_learner
    if asked != "auto":
        return float(asked)
    has_gpus = available.get("GPU", 0) >= max(1, config.resources.num_learners)
    return float(has_gpus and any(trial.gains_by_gpu for trial in planned))


def trial_resources(planned: Sequence[PlannedTrial], gpus: float) -> dict[str, float]:
    """What the trial that needs most asks for, by resource."""
    needs = [required_resources(build_algorithm_config(trial.setup, gpus)) for trial in planned]
    return {name: max(need.get(name, 0.0) for need in needs) for need in needs for name in need}


def describe_samplers(planned: Sequence[PlannedTrial]) -> tuple[str, str]:
    """Returns `sampler` and `sampler_reason` of `summary.json`; trials may differ in theirs."""
    samplers = list(dict.fromkeys(trial.setup.sampler for trial in planned))
    names = dict.fromkeys(sampler.name for sampler in samplers)
    reasons = dict.fromkeys(sampler.reason for sampler in samplers)
    return ", ".join(names), "; ".join(reasons)


def describe_networks(planned: Sequence[PlannedTrial], gpus: float) -> dict[str, str]:
    """Returns `networks` of `summary.json`: where each policy's network is trained, and why.

    Args:
        planned: trials, which may differ; those without networks are left out.
        gpus: of each learner.
    """
    found: dict[str, list[str]] = {}
    for trial in planned:
        for policy, reason in trial.why_torch.items():
            reason = reason or ("the learner has a GPU" if gpus else None)
            path = f"torch ({reason})" if reason else COMPILED
            found.setdefault(policy, []).append(path)
    return {policy: "; ".join(dict.fromkeys(paths)) for policy, paths in found.items()}


def _plan(config: ExperimentConfig, specs: Sequence[TrialSpec]) -> list[PlannedTrial]:
    """Makes each environment once, for all trials that train in it."""
    envs: dict[str, Any] = {}
    planned = []
    with contextlib.ExitStack() as opened:
        for spec in specs:
            trial = _with_absolute_checkpoints(resolve_trial(config, spec))
            key = trial.env.model_dump_json()
            if key not in envs:
                envs[key] = opened.enter_context(contextlib.closing(open_env(trial.env)))
            setup = set_up_trial(trial, envs[key])
            check_joining(setup, envs[key])
            planned.append(PlannedTrial(spec, setup))
    return planned


def _with_absolute_checkpoints(config: ExperimentConfig) -> ExperimentConfig:
    """Makes the paths that policies start from hold in the trial's process, wherever it runs."""
    if isinstance(config.policies, str):
        return config
    policies = {
        key: entry.model_copy(update={"checkpoint": absolute_source(entry.checkpoint)})
        for key, entry in config.policies.items()
        if entry.checkpoint is not None
    }
    return config.model_copy(update={"policies": {**config.policies, **policies}})


def _build(planned: PlannedTrial) -> tuple[PlannedTrial, dict[str, RLModule]]:
    algorithm = build_algorithm_config(planned.setup)
    modules = build_rl_modules(algorithm, planned.setup.policies)
    why = why_torch(algorithm, modules)
    gains = gains_by_gpu(algorithm, modules, why)
    return replace(planned, why_torch=why, gains_by_gpu=gains), modules


def _has_cnn(module: RLModule) -> bool:
    return any(isinstance(part, ImageCNN) for part in module.modules())
