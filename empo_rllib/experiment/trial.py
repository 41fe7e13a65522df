"""One trial: an RLlib Algorithm that owns its folder.

Tune starts it as an actor wherever there is room, restarts it after a failure and stops it;
rows, TensorBoard events and checkpoints are written here, next to the training itself, so that
what is on disk never depends on the process that started the experiment.
"""

from __future__ import annotations

import empo_rllib.rllib_imports  # noqa: F401  # before others import Ray

# isort: split
import contextlib
import errno
import os
import platform
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.rllib.algorithms.algorithm import Algorithm

from empo_rllib import columns
from empo_rllib.algorithms.builder import build_algorithm_config
from empo_rllib.algorithms.learning_rates import set_learning_rates
from empo_rllib.algorithms.policies import Policy
from empo_rllib.algorithms.setup import TrialSetup
from empo_rllib.algorithms.torch_compiler import leave_out_torch_compiler
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.envs.env_errors import raise_env_error
from empo_rllib.envs.env_warnings import warning_files
from empo_rllib.envs.slow_calls import slow_call_reports
from empo_rllib.errors import TrialError
from empo_rllib.experiment.checkpoints import (
    acting_weights,
    beats_all,
    checkpoint_to_restore,
    read_counters,
    read_episodes,
    write_checkpoint,
)
from empo_rllib.experiment.custom_metrics import custom_metrics
from empo_rllib.experiment.finite import check_training
from empo_rllib.experiment.metrics import (
    Counters,
    add_episodes,
    build_row,
    sampled_env_steps,
    score_column,
    score_of,
    stop_reason,
    time_iterations,
)
from empo_rllib.experiment.progress_file import ProgressFile
from empo_rllib.experiment.prometheus import TrialMetrics
from empo_rllib.experiment.run_folder import resolve_checkpoint_policy
from empo_rllib.experiment.schedules import Schedule, change_at, copied_checkpoint, with_values
from empo_rllib.files import write_whole
from empo_rllib.sampling.episode_window import EpisodeWindow
from empo_rllib.seeding import seed_everything, stream_seed

ERROR_FILE = "error.txt"
ENV_ERROR_FILE = "env_error.txt"
# How long a trial continues without env steps, for lost env runners to come back.
MAX_WAIT_S = 600.0
# After which a member that waits for the others reports again, so that it hears of signals.
_WAIT_FOR_ROUND_S = 1.0


@dataclass(frozen=True)
class TrialTask:
    """What a trial's process is handed; Tune carries it as `config["task"]`.

    `schedule` says when the values of its setup change; None: never.
    """

    trial_id: str
    folder: Path
    setup: TrialSetup
    num_gpus_per_learner: float
    schedule: Schedule | None = None

    @staticmethod
    def of(tune_config: dict[str, Any]) -> TrialTask:
        """Returns the task in a Tune config."""
        task: TrialTask = tune_config["task"]
        return task


class ExperimentTrial(tune.Trainable):
    """Trains one trial, from its newest checkpoint if it has one."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> Any:
        """Returns the placement group that RLlib asks for with these settings."""
        task = TrialTask.of(config)
        algorithm = build_algorithm_config(task.setup, task.num_gpus_per_learner)
        return algorithm.algo_class.default_resource_request(algorithm)

    def setup(self, config: dict[str, Any]) -> None:
        """Builds the algorithm and restores the newest checkpoint."""
        task = self._task = TrialTask.of(config)
        self._config = task.setup.config
        self._healthy = True
        self._folder = task.folder
        self._folder.mkdir(parents=True, exist_ok=True)
        of_last_session = [self._folder / ERROR_FILE, self._folder / ENV_ERROR_FILE]
        for path in (
            *of_last_session,
            *slow_call_reports(self._folder),
            *warning_files(self._folder),
        ):
            path.unlink(missing_ok=True)
        with self._reporting_errors():
            self._build(task)
        self._metrics = TrialMetrics(self._config.name, task.trial_id)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Becomes another trial: those of a sweep follow each other in the same processes."""
        self.cleanup()
        self.setup(new_config)
        return True

    def _build(self, task: TrialTask) -> None:
        checkpoint = checkpoint_to_restore(self._folder)
        self._counters = Counters(**read_counters(checkpoint)) if checkpoint else Counters()
        setup = task.setup
        if task.schedule is not None:
            self._change = change_at(task.schedule.changes(), self._counters.env_steps)
            setup = with_values(setup, self._change.params)
            copied = copied_checkpoint(self._change, self._folder.parent, self._counters.env_steps)
            checkpoint = copied or checkpoint
        # Envs start anew: with the first session's seed they would play its episodes once more.
        seed = stream_seed(self._config.seed, self._counters.training_iteration)
        seed_everything(seed)
        leave_out_torch_compiler()
        config = build_algorithm_config(
            setup, task.num_gpus_per_learner, self._folder / ENV_ERROR_FILE
        ).debugging(seed=seed)
        # With Tune's folder of the trial RLlib makes none in HOME, which may be read-only.
        self._algorithm = config.algo_class(config=config, storage=self._storage)
        self._window = EpisodeWindow(
            self._algorithm.config.metrics_num_episodes_for_smoothing,
            read_episodes(checkpoint) if checkpoint else (),
        )
        if checkpoint:
            self._algorithm.restore_from_path(str(checkpoint / "algorithm"))
            if task.schedule is not None:
                self._algorithm.learner_group.foreach_learner(set_learning_rates)
        else:
            self._start_from(setup.policies)
        time_iterations(self._algorithm.metrics)
        self._saved_iteration = self._counters.training_iteration
        self._score_column = score_column(self._config)
        self._waited_s = 0.0
        self._ignored_metrics: list[str] = []
        self._env_runner_hosts = env_runner_hosts(self._algorithm)
        self._opened: ProgressFile | None = None

    def _open(self) -> None:
        """Cuts the trial's rows back to the checkpoint that it was built from, to add to them.

        Not as part of `_build`: where Tune hands a trial that waits for a new process to one that
        has become free, the new one builds it all the same, and is ended without a step. Meanwhile
        the other one trains, and writes.
        """
        self._opened = ProgressFile(
            self._folder,
            self._saved_iteration,
            self._config.logging.tensorboard,
            hyperparameters(self._config),
        )
        self._is_restored = bool(self._opened.last_row)

    @property
    def _progress(self) -> ProgressFile:
        assert self._opened is not None
        return self._opened

    def step(self) -> dict[str, Any]:
        """Trains for one iteration; a trial that is already done only says so.

        A restored trial first reports the row that it goes on from: an interruption may have
        come before the scheduler could decide on it. An iteration in which nothing was sampled, for
        all env runners were lost, reports the last row again, and so does a member of a population
        that waits for the others.
        """
        if self._opened is None:
            self._open()
        row = self._progress.last_row
        reason = self._stop_reason(row)
        is_restored, self._is_restored = self._is_restored, False
        if reason is None and not is_restored and not self._waits_for_round():
            with self._reporting_errors():
                self._follow_schedule()
                if (trained := self._train()) is not None:
                    row = trained
                    reason = self._stop_reason(row)
                    if self._is_due(reason):
                        self._save()
        return {
            **asdict(self._counters),
            **row,
            "env_runner_hosts": self._env_runner_hosts,
            "ignored_metrics": self._ignored_metrics,
            "done": reason is not None,
            "stop_reason": reason or "",
        }

    def _waits_for_round(self) -> bool:
        schedule = self._task.schedule
        return schedule is not None and schedule.is_open(
            self._counters.env_steps, _WAIT_FOR_ROUND_S
        )

    def _follow_schedule(self) -> None:
        """Starts anew, from the checkpoint that is due, where the schedule has changed."""
        schedule = self._task.schedule
        if schedule is None:
            return
        if change_at(schedule.changes(), self._counters.env_steps) != self._change:
            self.cleanup()
            self._build(self._task)
            self._open()
            self._is_restored = False

    def cleanup(self) -> None:
        """Saves what is not saved yet; Tune calls this when it stops the trial."""
        if self._healthy and self._counters.training_iteration > self._saved_iteration:
            with contextlib.suppress(TrialError):  # the weights broke meanwhile: the last one stays
                self._save()
        if self._opened is not None:
            self._opened.close()
        self._algorithm.stop()

    @contextlib.contextmanager
    def _reporting_errors(self) -> Iterator[None]:
        """Leaves the traceback in the trial's folder: the environment's own where it was that."""
        try:
            yield
        except Exception as error:
            self._healthy = False
            text = self._describe(error)
            with contextlib.suppress(OSError):  # the disk may be full
                write_whole(self._folder / ERROR_FILE, text)
            raise TrialError(text) from error

    def _describe(self, error: Exception) -> str:
        env_error = self._folder / ENV_ERROR_FILE
        if env_error.exists():
            return env_error.read_text()
        if isinstance(error, TrialError):
            return f"{error}\n"
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"{self._folder} cannot be written: {os.strerror(error.errno)}. Free some space."
        return traceback.format_exc()

    def _start_from(self, policies: Mapping[str, Policy]) -> None:
        weights = {
            name: resolve_checkpoint_policy(policy.checkpoint, name)
            for name, policy in policies.items()
            if policy.checkpoint is not None
        }
        for name in weights:
            if not policies[name].train:
                module = self._algorithm.get_module(name)
                weights[name] = acting_weights(module, weights[name])
        if weights:
            self._algorithm.set_weights(weights)

    def _train(self) -> dict[str, float] | None:
        """Trains for one iteration and writes its row; None if no env step was sampled."""
        started = time.perf_counter() - self._waited_s
        result = self._algorithm.train()
        raise_env_error(self._folder / ENV_ERROR_FILE)
        iteration = self._counters.training_iteration + 1
        check_training(result, self._algorithm, iteration, self._saved_iteration)
        seconds = time.perf_counter() - started
        new_env_steps = sampled_env_steps(result)
        if not new_env_steps:
            self._waited_s = seconds
            check_waiting(seconds, self._algorithm)
            return None
        self._waited_s = 0.0
        self._env_steps_before = self._counters.env_steps
        self._counters.advance(result, seconds)
        add_episodes(self._window, result, self._counters, self._algorithm)
        row = build_row(result, self._counters, self._window, seconds, new_env_steps)
        if self._config.algorithm.callbacks:
            logged, self._ignored_metrics = custom_metrics(result, self._algorithm.metrics)
            row |= logged
        self._progress.append(row)
        self._metrics.emit(row, new_env_steps)
        return row

    def _stop_reason(self, row: dict[str, float]) -> str | None:
        return stop_reason(self._config.stop, row, self._window.earlier_return_mean())

    def _is_due(self, stop_reason: str | None) -> bool:
        iteration, frequency = self._counters.training_iteration, self._config.checkpoint.frequency
        is_regular = iteration % frequency == 0
        return bool(stop_reason) or is_regular or self._may_change() or self._was_evaluated_best()

    def _may_change(self) -> bool:
        schedule = self._task.schedule
        return schedule is not None and schedule.may_change(
            self._env_steps_before, self._counters.env_steps
        )

    def _was_evaluated_best(self) -> bool:
        """Whether an evaluation has just shown the best policies so far, which are kept.

        A mean of training improves with every iteration at first: there the best of the regular
        checkpoints does.
        """
        if not self._score_column.startswith(columns.EVALUATION):
            return False
        score = self._score()
        return score is not None and beats_all(
            self._folder, score, self._config.tune.objective.mode
        )

    def _score(self) -> float | None:
        return score_of(self._progress.last_row, self._score_column)

    def _save(self) -> None:
        write_checkpoint(
            self._folder,
            self._algorithm,
            asdict(self._counters),
            self._window.state(),
            self._config.checkpoint.num_to_keep,
            self._score(),
            self._config.tune.objective.mode,
            kept=self._task.schedule.kept() if self._task.schedule else (),
        )
        self._saved_iteration = self._counters.training_iteration
        # Asked again, for a lost env runner comes back where there is room; seldom, for it waits.
        self._env_runner_hosts = env_runner_hosts(self._algorithm)


def hyperparameters(config: ExperimentConfig) -> dict[str, Any]:
    """Returns the settings of a trial that are compared most, by dotted key."""
    keys = {"algorithm.name": config.algorithm.name, "env.id": config.env.id, "seed": config.seed}
    params = {f"algorithm.params.{key}": value for key, value in config.algorithm.params.items()}
    return keys | {"env.num_agents": config.env.num_agents} | params


def check_waiting(seconds: float, algorithm: Algorithm) -> None:
    """Checks that a trial has not sampled nothing for too long.

    Raises:
        TrialError: it has.
    """
    if seconds < MAX_WAIT_S:
        return
    group = algorithm.env_runner_group
    healthy, count = group.num_healthy_remote_workers(), group.num_remote_env_runners()
    limit = algorithm.config.sample_timeout_s
    raise TrialError(
        f"no env step was sampled for {seconds:.0f} s; {healthy} of {count} env runners are alive. "
        f"RLlib discards a rollout that takes an env runner more than {limit} s. If the "
        "environment is slow, raise algorithm.params.sample_timeout_s or lower "
        "algorithm.params.rollout_fragment_length."
    )


def env_runner_hosts(algorithm: Algorithm) -> list[str]:
    """Returns the host name of each env runner that samples; without remote ones, the trial's."""
    group = algorithm.env_runner_group
    return group.foreach_env_runner(
        lambda _: platform.node(), local_env_runner=group.num_remote_env_runners() == 0
    )
