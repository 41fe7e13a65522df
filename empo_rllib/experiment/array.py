"""How a job of an array begins: it creates the run, continues an earlier one, or joins the others.

The first of them to have planned its trials and started Ray creates the run, or takes it over with
`--resume`, and writes the array's name into it. Jobs that find their array's name there join, also
after SLURM has started them again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.experiment.plan import PlannedTrial, plan_trials
from empo_rllib.experiment.run_folder import (
    LOCK_FILE,
    check_trial,
    lock_run,
    refusing_unwritable,
    run_folder_of,
    wait_for_array_lock,
)
from empo_rllib.experiment.share import ArrayTask, Share, check_shareable
from empo_rllib.experiment.start import (
    check_can_start,
    check_differences,
    opened_run,
    plan_unfinished,
    resume_run,
    start_run,
    unfinished_trials,
)
from empo_rllib.experiment.summary import SUMMARY_FILE, ExperimentResult, read_summary


def plan_share(
    config: ExperimentConfig, task: ArrayTask, *, resume: bool, overwrite: bool
) -> list[PlannedTrial]:
    """Plans the trials of a run that a job joins, continues or is to create; writes nothing.

    Returns:
        The trials; none if there is nothing left that the job may train.

    Raises:
        RunError: there is a run that the job may neither join nor continue.
        ConfigError, CheckpointError: as for `plan_trials`, or the trials cannot be shared.
    """
    check_shareable(config)
    folder = run_folder_of(config)
    is_run = (folder / SUMMARY_FILE).is_file()
    with wait_for_array_lock(folder) if is_run else contextlib.nullcontext():
        if is_run and read_summary(folder).array == task.array:
            check_differences(config, folder)
            result = read_summary(folder)
            unfinished = Share(result, task.number).open_trials()
            for trial in unfinished:
                check_trial(folder / trial.trial_id)
        elif resume:
            with opened_run(config) as result:
                unfinished = unfinished_trials(config, result)
        else:
            check_can_start(config, overwrite)
            return plan_trials(config)
    return plan_unfinished(config, result, unfinished) if unfinished else []


@contextlib.contextmanager
def joined_run(
    config: ExperimentConfig,
    planned: Sequence[PlannedTrial],
    gpus: float,
    task: ArrayTask,
    *,
    resume: bool,
    overwrite: bool,
) -> Iterator[Share]:
    """Joins, continues or creates the run of an array, and holds it together with its other jobs.

    Args:
        config: The experiment.
        planned: What `plan_share` returned; with nothing in it there must be a run.
        gpus: Of each learner.
        task: This job.
        resume: Continue the run of an earlier submission.
        overwrite: Remove the results of an earlier submission.

    Raises:
        RunError: another process trains there, or this very job; or as for `plan_share`.
        ConfigError: the run cannot be written.
    """
    folder = run_folder_of(config)
    with contextlib.ExitStack() as held:
        with refusing_unwritable(config):
            folder.mkdir(parents=True, exist_ok=True)
            with wait_for_array_lock(folder):
                result = _open_run(config, planned, gpus, task.array, resume, overwrite)
                held.enter_context(lock_run(folder, f"{LOCK_FILE}_{task.number}"))
                held.enter_context(lock_run(folder, shared=True))
                share = Share(result, task.number)
                share.begin()
        try:
            yield share
        finally:
            held.close()
            share.leave()


def _open_run(
    config: ExperimentConfig,
    planned: Sequence[PlannedTrial],
    gpus: float,
    array: str,
    resume: bool,
    overwrite: bool,
) -> ExperimentResult:
    folder = run_folder_of(config)
    if (folder / SUMMARY_FILE).is_file() and (result := read_summary(folder)).array == array:
        return result
    if not resume:
        return start_run(config, planned, gpus, overwrite, array)
    with opened_run(config) as result:
        resume_run(config, planned, gpus, result, array)
    return result
