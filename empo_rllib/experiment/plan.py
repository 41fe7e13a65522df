"""Everything about an experiment that can be known, and refused, before Ray starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from empo_rllib.algorithms.builder import (
    build_algorithm_config,
    build_rl_modules,
    pick_sampler,
    required_resources,
)
from empo_rllib.algorithms.policies import Policy, build_policies
from empo_rllib.algorithms.sampler import Sampler
from empo_rllib.config.load import load_config
from empo_rllib.config.policies import check_metric
from empo_rllib.config.schema import ExperimentConfig, differences
from empo_rllib.config.search_space import TrialSpec, resolve_trial, sample_trials
from empo_rllib.errors import ConfigError, RunError
from empo_rllib.experiment.checkpoints import check_complete, find_checkpoints, load_weights
from empo_rllib.experiment.metrics import stop_reason
from empo_rllib.experiment.run_folder import (
    CONFIG_FILE,
    LOCK_FILE,
    absolute_source,
    check_new_run,
    check_writable,
    create_run_folder,
    lock_run,
    resolve_checkpoint_policy,
    run_folder_of,
)
from empo_rllib.experiment.summary import (
    SUMMARY_FILE,
    ExperimentResult,
    TrialSummary,
    read_summary,
)
from empo_rllib.rl_modules.encoders import SMALLEST_CNN_IMAGE, ImageCNN

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
    from ray.rllib.core.rl_module.rl_module import RLModule

MAY_CHANGE_ON_RESUME = ("stop", "checkpoint", "logging", "resources")


@dataclass(frozen=True)
class PlannedTrial:
    """A trial with its experiment, free of search spaces, and its policies."""

    spec: TrialSpec
    config: ExperimentConfig
    policies: Mapping[str, Policy]
    sampler: Sampler

    def algorithm_config(self, num_gpus_per_learner: float) -> AlgorithmConfig:
        """Returns RLlib's config of this trial."""
        return build_algorithm_config(self.config, self.policies, num_gpus_per_learner)


def plan_trials(config: ExperimentConfig) -> list[PlannedTrial]:
    """Samples the trials and makes each one's environment and RLlib config once.

    Raises:
        ConfigError, CheckpointError, RunError: with what would make a trial fail.
    """
    planned = [_plan(config, spec) for spec in sample_trials(config)]
    for trial in planned:
        _check_networks(trial)
    policies = planned[0].policies
    agents = [agent for policy in policies.values() for agent in policy.agents]
    check_metric(config.tune.metric, list(policies), agents)
    return planned


def plan_resumed_trials(config: ExperimentConfig, result: ExperimentResult) -> list[PlannedTrial]:
    """Plans the same trials that the run was started with, read from its summary."""
    return [
        _plan(config, TrialSpec(trial_id=trial.trial_id, seed=trial.seed, params=trial.params))
        for trial in result.trials
    ]


def num_gpus_per_learner(config: ExperimentConfig, available: Mapping[str, float]) -> float:
    """Resolves `auto`: one GPU if there is one, none otherwise."""
    asked = config.resources.num_gpus_per_learner
    if asked == "auto":
        return 1.0 if available.get("GPU", 0) >= max(1, config.resources.num_learners) else 0.0
    return float(asked)


def trial_resources(planned: list[PlannedTrial], gpus: float) -> dict[str, float]:
    """What the trial that needs most asks for, by resource."""
    needs = [required_resources(trial.algorithm_config(gpus)) for trial in planned]
    return {name: max(need.get(name, 0.0) for need in needs) for need in needs for name in need}


def check_can_start(config: ExperimentConfig, resume: bool, overwrite: bool) -> None:
    """Checks the run folder without writing to it.

    Raises:
        RunError: the name is taken, or there is nothing to resume.
        CheckpointError: a trial would go on from a damaged checkpoint.
        ConfigError: the storage path cannot be written.
    """
    folder = run_folder_of(config)
    if resume:
        for trial in unfinished_trials(config, open_run(config)):
            for checkpoint in find_checkpoints(folder / trial.trial_id)[-1:]:
                check_complete(checkpoint)
    else:
        check_new_run(folder, overwrite)
    check_writable(config)
    if (folder / LOCK_FILE).exists():
        with lock_run(folder):
            pass


def start_run(
    config: ExperimentConfig, planned: list[PlannedTrial], overwrite: bool
) -> ExperimentResult:
    """Creates the run folder and its summary, every trial pending."""
    folder = create_run_folder(config, overwrite)
    sampler, reason = describe_samplers(planned)
    result = ExperimentResult(
        status="running",
        sampler=sampler,
        sampler_reason=reason,
        metric=config.tune.metric,
        mode=config.tune.mode,
        trials=[
            TrialSummary(trial_id=p.spec.trial_id, params=p.spec.params, seed=p.spec.seed)
            for p in planned
        ],
        folder=str(folder),
    )
    result.write()
    return result


def describe_samplers(planned: Sequence[PlannedTrial]) -> tuple[str, str]:
    """Returns `sampler` and `sampler_reason` of `summary.json`; trials may differ in theirs."""
    samplers = list(dict.fromkeys(trial.sampler for trial in planned))
    names = dict.fromkeys(sampler.name for sampler in samplers)
    reasons = dict.fromkeys(sampler.reason for sampler in samplers)
    return ", ".join(names), "; ".join(reasons)


def open_run(config: ExperimentConfig) -> ExperimentResult:
    """Reads the run that `--resume` goes on with.

    Raises:
        RunError: there is none, or the experiment differs in more than it may.
    """
    folder = run_folder_of(config)
    if not (folder / CONFIG_FILE).is_file() or not (folder / SUMMARY_FILE).is_file():
        raise RunError(f"--resume: nothing to resume in {folder}. Start it without --resume.")
    started = load_config(folder / CONFIG_FILE)
    changed = [
        key
        for key in differences(started, config)
        if key.split(".")[0] not in (*MAY_CHANGE_ON_RESUME, "storage_path")
    ]
    if changed:
        old, new = started.to_dict(), config.to_dict()
        lines = [f"  {key}: {_at(old, key)!r} -> {_at(new, key)!r}" for key in changed]
        raise RunError(
            f"--resume: {folder} was started with other settings:\n" + "\n".join(lines) + "\n"
            f"Only {', '.join(MAY_CHANGE_ON_RESUME)} may change. Set the others back, or use "
            "another name."
        )
    return read_summary(folder)


def resume_run(config: ExperimentConfig, planned: Sequence[PlannedTrial]) -> ExperimentResult:
    """Marks what is left to do in a run as pending and writes the new settings to its folder."""
    result = open_run(config)
    result.sampler, result.sampler_reason = describe_samplers(planned)
    folder = run_folder_of(config)
    for trial in unfinished_trials(config, result):
        trial.status, trial.stop_reason, trial.error = "pending", "", None
    result.status = "running"
    (folder / CONFIG_FILE).write_text(config.to_yaml())
    result.write()
    return result


def unfinished_trials(config: ExperimentConfig, result: ExperimentResult) -> list[TrialSummary]:
    """Returns the trials that `--resume` goes on with.

    They are those that are not over, and the finished ones that `config.stop` now lets go on.
    """
    return [
        trial
        for trial in result.trials
        if not trial.is_over or (trial.status == "finished" and not _is_done(config, trial))
    ]


def newest_checkpoint(folder: Path, trial_id: str) -> str | None:
    """Returns the newest checkpoint of a trial, relative to the run folder."""
    checkpoints = find_checkpoints(folder / trial_id)
    return f"{trial_id}/{checkpoints[-1].name}" if checkpoints else None


def _is_done(config: ExperimentConfig, trial: TrialSummary) -> bool:
    row = trial.model_dump(include={"env_steps", "episodes", "time_s", "episode_return_mean"})
    known = {key: value for key, value in row.items() if value is not None}
    # The window before the last is in the checkpoint only.
    reached = trial.stop_reason.startswith("episode_return_mean")
    earlier_return_mean = trial.episode_return_mean if reached else None
    return stop_reason(config.stop, known, earlier_return_mean) is not None


def _plan(config: ExperimentConfig, spec: TrialSpec) -> PlannedTrial:
    resolved = _with_absolute_checkpoints(resolve_trial(config, spec))
    policies = build_policies(resolved)
    return PlannedTrial(spec, resolved, policies, pick_sampler(resolved, policies))


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


def _check_networks(trial: PlannedTrial) -> None:
    """Builds the trial's networks, with the weights that its policies start from."""
    modules = build_rl_modules(trial.algorithm_config(num_gpus_per_learner=0), trial.policies)
    model = trial.config.model
    if model.conv_filters and model.class_ is None and not any(map(_has_cnn, modules.values())):
        raise ConfigError(
            f"model.conv_filters = {model.conv_filters} has no effect: no observation holds an "
            f"image of at least {SMALLEST_CNN_IMAGE} by {SMALLEST_CNN_IMAGE} pixels."
        )
    for name, policy in trial.policies.items():
        if policy.checkpoint is not None:
            weights = resolve_checkpoint_policy(policy.checkpoint, name)
            load_weights(modules[name], weights, f"policies: {name!r} from {policy.checkpoint}")


def _has_cnn(module: RLModule) -> bool:
    return any(isinstance(part, ImageCNN) for part in module.modules())


def _at(tree: Mapping[str, object], key: str) -> object:
    value: object = tree
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
