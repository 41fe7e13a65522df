"""Runs an experiment: plan, start or join Ray, train with Tune, save, sum up."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import TrialScheduler

from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.errors import ConfigError, TrialError
from empo_rllib.experiment import interrupt
from empo_rllib.experiment.array import joined_run, plan_share
from empo_rllib.experiment.cluster import (
    THIS_MACHINE,
    Cluster,
    check_resources,
    local_cluster,
    local_resources,
    lost_process,
    quiet_ray,
    running_cluster,
)
from empo_rllib.experiment.monitor import Monitor
from empo_rllib.experiment.plan import (
    PlannedTrial,
    describe_networks,
    describe_samplers,
    num_gpus_per_learner,
    plan_trials,
    trial_resources,
)
from empo_rllib.experiment.progress import (
    Display,
    describe_cluster,
    describe_learner,
    describe_sampler,
    networks_lines,
)
from empo_rllib.experiment.provenance import write_provenance
from empo_rllib.experiment.run_folder import (
    check_start_options,
    lock_run,
    refusing_unwritable,
    run_folder_of,
)
from empo_rllib.experiment.scheduler import build_scheduler
from empo_rllib.experiment.schedules import build_schedule
from empo_rllib.experiment.search import StudyRecorder, TrialQueue, trials_at_a_time
from empo_rllib.experiment.share import ArrayTask, Share
from empo_rllib.experiment.slow_calls import SlowCalls
from empo_rllib.experiment.start import (
    check_can_start,
    opened_run,
    plan_unfinished,
    resume_run,
    start_run,
    unfinished_trials,
)
from empo_rllib.experiment.summary import ExperimentResult, read_summary
from empo_rllib.experiment.trial import ExperimentTrial, TrialTask
from empo_rllib.experiment.tune_memory import forgetting_results
from empo_rllib.experiment.wandb import WandbLogger

# Tune's own state on a shared cluster, where all nodes must see it. Nothing reads it again, so
# it goes when the experiment ends.
TUNE_FOLDER = ".tune"
# How long Tune takes to end a trial that does not answer.
_TUNE_STOP_S = 16.0
# How long an interrupted run waits for trials whose environments do not return.
_BLOCKED_GRACE_S = 4.0


def run(
    config: ExperimentConfig,
    resume: bool = False,
    address: str | None = None,
    overwrite: bool = False,
) -> ExperimentResult:
    """Trains an experiment and returns what `summary.json` holds.

    Args:
        config: The experiment; relative paths are resolved in the working folder.
        resume: Go on with the run of this name.
        address: A running Ray cluster; without it one is started here and stopped at the end.
        overwrite: Remove the results that this name already has.

    Returns:
        The result, with status `finished`, `failed` (a trial failed) or `interrupted` (a signal
        asked to stop; the state is saved).

    Raises:
        EmpoError: as `exit_code` 2 errors, before anything is written or Ray is started.
    """
    cluster = None if address is None else running_cluster(address)
    with Display(config) as display:
        return run_on(cluster, config, display, resume=resume, overwrite=overwrite)


def run_on(
    running: AbstractContextManager[Cluster] | None,
    config: ExperimentConfig,
    display: Display,
    *,
    resume: bool,
    overwrite: bool,
    task: ArrayTask | None = None,
) -> ExperimentResult:
    """Trains as `run` does, on a cluster that is joined once everything is planned.

    Args:
        running: Joins it when it is entered; None starts a local one.
        config: The experiment.
        display: Shows it; open already, because the imports of this module take seconds.
        resume: Go on with the run of this name.
        overwrite: Remove the results that this name already has.
        task: The job of an array that this process is: it trains those trials that no other job
            has taken.
    """
    quiet_ray()
    if ray.is_initialized():
        raise ConfigError(
            "Ray is already running in this process. Call ray.shutdown() first; to train on a "
            "running cluster give its address."
        )
    check_start_options(resume, overwrite)
    interruption = interrupt.reset()
    interruption.on_give_up = display.stop
    display.doing("planning: environments and networks of each trial")
    with interruption.listening():
        if task is not None:
            return _run_share(running, config, display, task, resume, overwrite)
        if resume:
            with opened_run(config) as result:
                if unfinished := unfinished_trials(config, result):
                    planned = plan_unfinished(config, result, unfinished)
                    with _prepared(running, config, planned, display) as (cluster, gpus):
                        with refusing_unwritable(config):
                            resume_run(config, planned, gpus, result)
                        _train(cluster, config, planned, gpus, Share(result), display)
                else:
                    result.settle(interrupted=False)
                    result.write()
            return result
        check_can_start(config, overwrite)
        planned = plan_trials(config)
        with _prepared(running, config, planned, display) as (cluster, gpus):
            with refusing_unwritable(config):
                result = start_run(config, planned, gpus, overwrite)
            with lock_run(Path(result.folder)):
                _train(cluster, config, planned, gpus, Share(result), display)
        return result


def _run_share(
    running: AbstractContextManager[Cluster] | None,
    config: ExperimentConfig,
    display: Display,
    task: ArrayTask,
    resume: bool,
    overwrite: bool,
) -> ExperimentResult:
    """Trains what a job of an array takes of the trials."""
    planned = plan_share(config, task, resume=resume, overwrite=overwrite)
    if not planned:
        share = Share(read_summary(run_folder_of(config)), task.number)
        share.leave()
        return share.result
    with _prepared(running, config, planned, display) as (cluster, gpus):
        start = joined_run(config, planned, gpus, task, resume=resume, overwrite=overwrite)
        with start as share:
            if share.open_trials():
                _train(cluster, config, planned, gpus, share, display)
    return share.result


@contextlib.contextmanager
def _prepared(
    running: AbstractContextManager[Cluster] | None,
    config: ExperimentConfig,
    planned: Sequence[PlannedTrial],
    display: Display,
) -> Iterator[tuple[Cluster, float]]:
    """Starts or joins Ray, where a trial has room; yields the cluster and GPUs per learner."""
    gpus = None
    if running is None:
        available = local_resources()
        gpus = _check_resources(config, planned, available, THIS_MACHINE)
        _show_plan(display, config, planned, gpus, available)
        display.doing("starting Ray")
        running = local_cluster(available)
    else:
        display.doing("joining the Ray cluster")
    with running as cluster:
        interrupt.current.listen()  # Ray put handlers of its own in place
        if gpus is None:
            gpus = _check_resources(config, planned, cluster.resources, cluster.name)
            _show_plan(display, config, planned, gpus, cluster.resources)
        for line in describe_cluster(cluster):
            display.notice(line)
        yield cluster, gpus


def build_tuner(
    config: ExperimentConfig,
    tasks: list[TrialTask],
    scheduler: TrialScheduler,
    folder: Path,
    callbacks: list[tune.Callback],
    max_concurrent: int | None,
    queue: TrialQueue | None,
) -> tune.Tuner:
    """Returns the Tuner that runs `tasks`, one trial each, with Tune's own state in `folder`.

    A `queue` hands them out where there is one.
    """
    return tune.Tuner(
        ExperimentTrial,
        param_space={} if queue else {"task": tune.grid_search(tasks)},
        tune_config=tune.TuneConfig(
            scheduler=scheduler,
            search_alg=queue,
            num_samples=len(tasks) if queue else 1,
            max_concurrent_trials=max_concurrent,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder),
            callbacks=callbacks,
            stop=interrupt.InterruptStopper(),
            # Trials save themselves (`ExperimentTrial`): checkpoints outlive Tune's state.
            checkpoint_config=tune.CheckpointConfig(
                checkpoint_frequency=0, checkpoint_at_end=False
            ),
            failure_config=tune.FailureConfig(max_failures=config.tune.max_failures),
            verbose=0,
            # It prints nothing, whereas Tune's reporter for notebooks clears what is printed there.
            progress_reporter=tune.CLIReporter(),
        ),
    )


def _check_resources(
    config: ExperimentConfig,
    planned: Sequence[PlannedTrial],
    available: dict[str, float],
    where: str,
) -> float:
    gpus = num_gpus_per_learner(config, planned, available)
    check_resources(trial_resources(planned, gpus), available, where)
    return gpus


def _show_plan(
    display: Display,
    config: ExperimentConfig,
    planned: Sequence[PlannedTrial],
    gpus: float,
    available: dict[str, float],
) -> None:
    sampler = describe_sampler(*describe_samplers(planned))
    networks = networks_lines(describe_networks(planned, gpus))
    for line in [sampler, *networks, *describe_learner(config, gpus, available.get("GPU", 0))]:
        display.notice(line)


def _train(
    cluster: Cluster,
    config: ExperimentConfig,
    planned: Sequence[PlannedTrial],
    gpus: float,
    share: Share,
    display: Display,
) -> None:
    """Trains the pending trials of a share and brings it, and the run folder, up to date."""
    result = share.result
    folder = Path(result.folder)
    pending = {trial.trial_id for trial in share.open_trials() if trial.status == "pending"}
    tasks = [
        TrialTask(
            trial_id=trial.spec.trial_id,
            folder=folder / trial.spec.trial_id,
            setup=trial.setup,
            num_gpus_per_learner=gpus,
            schedule=build_schedule(config, result.trial(trial.spec.trial_id), folder),
        )
        for trial in planned
        if trial.spec.trial_id in pending
    ]
    scheduler = build_scheduler(config, share, display.notice)
    display.follow(result)
    monitor = Monitor(config, share, display)
    callbacks: list[tune.Callback] = [monitor]
    if config.logging.wandb is not None:
        callbacks.append(WandbLogger(config, result, display.notice))
    queue, max_concurrent = None, config.tune.max_concurrent
    if config.tune.search is not None or share.task is not None:
        needs = trial_resources(planned, gpus)
        max_concurrent = trials_at_a_time(config, needs, cluster.resources)
        queue = TrialQueue(config, share, tasks, display.notice)
        if config.tune.search is not None:
            callbacks.append(StudyRecorder(queue, share))
    tune_folder = cluster.folder or folder / share.file_of_its_own(TUNE_FOLDER)
    interrupt.current.on_give_up = lambda: _give_up(display, tune_folder)
    try:
        with share.locked():
            write_provenance(folder, cluster.resources, cluster.num_nodes)
        _fit(
            lambda: build_tuner(
                config, tasks, scheduler, tune_folder, callbacks, max_concurrent, queue
            ).fit(),
            cluster,
            config,
            display,
            monitor,
            SlowCalls(config.env.id, share, display.notice),
        )
    except OSError as error:
        raise TrialError(f"{folder}: cannot be written any more: {error}") from error
    finally:
        shutil.rmtree(tune_folder, ignore_errors=True)
        monitor.finish(interrupt.current.asked.is_set())
        display.stop()


def _give_up(display: Display, tune_folder: Path) -> None:
    """Leaves the terminal and the temporary files in order before the process ends at once."""
    display.stop()
    shutil.rmtree(tune_folder, ignore_errors=True)


def _fit(
    fit: Callable[[], Any],
    cluster: Cluster,
    config: ExperimentConfig,
    display: Display,
    monitor: Monitor,
    slow_calls: SlowCalls,
) -> None:
    """Runs Tune in a thread of its own, so that the main thread can answer signals at once."""
    failure: list[BaseException] = []

    def target() -> None:
        try:
            with forgetting_results():
                fit()
        except BaseException as error:  # handed to the caller's thread
            failure.append(error)

    thread = threading.Thread(target=target, name="tune", daemon=True)
    thread.start()
    told = False
    grace = config.checkpoint.grace_s
    reason = f"not every trial saved within checkpoint.grace_s = {grace:g} s"
    while thread.is_alive():
        thread.join(0.2)
        display.refresh()
        slow_calls.look()
        if interrupt.current.asked.is_set() and slow_calls.block_all():
            grace = min(grace, _BLOCKED_GRACE_S)
            reason = "not every trial saved: environments do not return"
        if process := lost_process(cluster):
            monitor.give_up(
                f"Ray's {process} has died (killed, or out of memory?). --resume continues from "
                "the last checkpoint (in Python: resume=True)."
            )
            return
        if interrupt.current.seconds() > grace - min(_TUNE_STOP_S, grace / 2):
            # Tune now ends the trials that have not answered, by force.
            interrupt.running_trials.clear()
        if interrupt.current.asked.is_set() and not told:
            told = True
            display.notice(
                f"{interrupt.current.signal_name}: saving every running trial after its current "
                "iteration (Ctrl-C again ends at once)"
            )
        if interrupt.current.seconds() > grace:
            display.notice(f"{reason}; --resume continues from the last checkpoint")
            return
    if failure:
        raise failure[0]
