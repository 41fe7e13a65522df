"""How a run begins: a new folder, or one that `--resume` continues."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from empo_rllib import columns
from empo_rllib.config.load import load_config
from empo_rllib.config.population_settings import settings_of
from empo_rllib.config.schema import ExperimentConfig, differences
from empo_rllib.errors import RunError
from empo_rllib.experiment.metrics import stop_reason
from empo_rllib.experiment.plan import (
    PlannedTrial,
    build_continued,
    build_new,
    describe_networks,
    describe_samplers,
    plan_resumed_trials,
)
from empo_rllib.experiment.population import read_rounds
from empo_rllib.experiment.run_folder import (
    CONFIG_FILE,
    LOCK_FILE,
    check_new_run,
    check_trial,
    check_writable,
    create_run_folder,
    lock_run,
    run_folder_of,
)
from empo_rllib.experiment.summary import (
    SUMMARY_FILE,
    ExperimentResult,
    TrialSummary,
    read_summary,
)
from empo_rllib.files import write_whole
from empo_rllib.trials import TrialSpec, sample_trials

MAY_CHANGE_ON_RESUME = ("stop", "checkpoint", "logging", "resources")
MAY_GROW_ON_RESUME = "tune.num_samples"


def check_can_start(config: ExperimentConfig, overwrite: bool) -> None:
    """Checks that a new run may have its folder, without writing to it.

    Raises:
        RunError: the name is taken, or another process trains there.
        ConfigError: the storage path cannot be written.
    """
    folder = run_folder_of(config)
    check_new_run(folder, overwrite)
    check_writable(config)
    if (folder / LOCK_FILE).exists():
        with lock_run(folder):
            pass


def start_run(
    config: ExperimentConfig,
    planned: Sequence[PlannedTrial],
    gpus: float,
    overwrite: bool,
    array: str | None = None,
) -> ExperimentResult:
    """Creates the run folder and its summary, every trial pending; `array` is to train them."""
    folder = create_run_folder(config, overwrite)
    sampler, reason = describe_samplers(planned)
    result = ExperimentResult(
        status="running",
        sampler=sampler,
        sampler_reason=reason,
        networks=describe_networks(planned, gpus),
        metric=config.tune.objective.metric,
        mode=config.tune.objective.mode,
        objectives=dict(config.tune.objectives) if len(config.tune.objectives) > 1 else {},
        trials=[
            _pending(config, trial.spec).model_copy(update={"schedule": list(trial.replayed)})
            for trial in planned
        ],
        array=array,
        folder=str(folder),
    )
    result.write()
    return result


@contextlib.contextmanager
def opened_run(config: ExperimentConfig) -> Iterator[ExperimentResult]:
    """Reads the run that `--resume` continues, and holds its lock.

    Raises:
        RunError: there is none, the experiment differs in more than it may, another process trains
            there, or the study of its search or the file of its population is damaged.
        CheckpointError: all checkpoints of a trial are damaged.
        ConfigError: the storage path cannot be written.
    """
    folder = run_folder_of(config)
    if not (folder / CONFIG_FILE).is_file():
        raise RunError(
            f"nothing to resume in {folder}. Start it without --resume (in Python: resume=False)."
        )
    if not (folder / SUMMARY_FILE).is_file():  # killed before its first trial, or damaged
        raise RunError(
            f"nothing to resume in {folder}, which has no {SUMMARY_FILE}. Start again with "
            "--overwrite (in Python: overwrite=True), or choose another name."
        )
    check_writable(config)
    with lock_run(folder):
        check_differences(config, folder)
        result = read_summary(folder)
        added = sample_trials(config)[len(result.trials) :]  # tune.num_samples was raised
        result.trials += [_pending(config, spec) for spec in added]
        for trial in unfinished_trials(config, result):
            check_trial(folder / trial.trial_id)
        if settings_of(config.tune.scheduler):
            read_rounds(folder)
        if config.tune.search is not None:
            from empo_rllib.experiment.study import check_study

            check_study(folder)
        yield result


def plan_unfinished(
    config: ExperimentConfig, result: ExperimentResult, unfinished: Sequence[TrialSummary]
) -> list[PlannedTrial]:
    """Plans the trials of a run, and checks that the unfinished ones can continue.

    Raises:
        RunError: the networks of a trial are no longer those of its checkpoint.
        ConfigError, CheckpointError: as for `plan_trials`.
    """
    continued = {trial.trial_id for trial in unfinished}
    planned = []
    for trial in plan_resumed_trials(config, result):
        folder = Path(result.folder) / trial.spec.trial_id
        if trial.spec.trial_id not in continued:
            planned.append(trial)
        elif folder.exists():
            planned.append(build_continued(trial, folder))
        else:
            planned.append(build_new(trial))
    return planned


def resume_run(
    config: ExperimentConfig,
    planned: Sequence[PlannedTrial],
    gpus: float,
    result: ExperimentResult,
    array: str | None = None,
) -> None:
    """Marks what is left to do in a run as pending and writes the new settings to its folder.

    `array` is to train it; None is this process alone.
    """
    result.sampler, result.sampler_reason = describe_samplers(planned)
    result.networks = describe_networks(planned, gpus)
    for trial in unfinished_trials(config, result):
        trial.status, trial.stop_reason, trial.error = "pending", "", None
        trial.array_task = None
    result.status, result.array = "running", array
    write_whole(Path(result.folder) / CONFIG_FILE, config.to_yaml())
    result.write()


def unfinished_trials(config: ExperimentConfig, result: ExperimentResult) -> list[TrialSummary]:
    """Returns the trials that `--resume` continues.

    They are those that are not over, and the finished ones that `config.stop` now lets continue.
    """
    return [
        trial
        for trial in result.trials
        if not trial.is_over or (trial.status == "finished" and not _is_done(config, trial))
    ]


def check_differences(config: ExperimentConfig, folder: Path) -> None:
    """Refuses settings that differ from those of a run in more than they may.

    Raises:
        RunError: as said.
    """
    started = load_config(folder / CONFIG_FILE)
    may_change = [*MAY_CHANGE_ON_RESUME, "storage_path"]
    changed = [
        key
        for key in differences(started, config)
        if key.split(".")[0] not in may_change
        and not (key == MAY_GROW_ON_RESUME and _may_grow(started, config))
    ]
    if changed:
        old, new = started.to_dict(), config.to_dict()
        lines = [f"  {key}: {_at(old, key)!r} -> {_at(new, key)!r}" for key in changed]
        raise RunError(
            "\n".join([f"{folder} cannot be resumed: it was started with other settings:", *lines])
            + f"\nOnly {', '.join(MAY_CHANGE_ON_RESUME)} may change, and {MAY_GROW_ON_RESUME} may "
            "grow. Set the others back, or use another name."
        )


def _may_grow(started: ExperimentConfig, config: ExperimentConfig) -> bool:
    """Whether more trials may be added; a population's rounds are of the members it has."""
    is_population = settings_of(config.tune.scheduler) is not None
    return config.tune.num_samples > started.tune.num_samples and not is_population


def _pending(config: ExperimentConfig, spec: TrialSpec) -> TrialSummary:
    """Returns a trial that has not started, without the values that `tune.search` will choose."""
    params = {} if config.tune.search else spec.params
    return TrialSummary(trial_id=spec.trial_id, params=params, seed=spec.seed)


def _is_done(config: ExperimentConfig, trial: TrialSummary) -> bool:
    row = trial.model_dump(include={"env_steps", "episodes", "time_s", "episode_return_mean"})
    known = {key: value for key, value in row.items() if value is not None}
    # The window before the last is in the checkpoint only.
    reached = trial.stop_reason.startswith(columns.EPISODE_RETURN_MEAN)
    earlier_return_mean = trial.episode_return_mean if reached else None
    return stop_reason(config.stop, known, earlier_return_mean) is not None


def _at(tree: Mapping[str, object], key: str) -> object:
    value: object = tree
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
