"""Trains for some seconds, in processes as those of a trial, and measures."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.rllib.algorithms.algorithm import Algorithm

from empo_rllib.algorithms.builder import build_algorithm_config
from empo_rllib.algorithms.setup import TrialSetup
from empo_rllib.algorithms.torch_compiler import leave_out_torch_compiler
from empo_rllib.envs.env_errors import raise_env_error
from empo_rllib.errors import EmpoError, TrialError
from empo_rllib.experiment.metrics import sampled_env_steps
from empo_rllib.profiling.arithmetic import Arithmetic, count_arithmetic
from empo_rllib.profiling.stopwatch import (
    ProcessTimes,
    mean_times,
    start_stopwatch,
    stop_stopwatch,
)
from empo_rllib.seeding import seed_everything

#: Iterations before the first that counts: kernels are compiled, buffers made.
WARM_UP = 2
_LEAST_ITERATIONS = 3
TRIAL, ENV_RUNNER, LEARNER = "trial", "env runner", "learner"


@dataclass(frozen=True)
class Measured:
    """Some training iterations.

    Attributes:
        iterations: how many.
        seconds: what they took.
        env_steps: sampled in them.
        processes: means over one iteration, and over processes that do the same: `trial` and,
            where they have processes of their own, `env runner` and `learner`.
        counts: how many processes of each kind there are.
        arithmetic: of an iteration.
    """

    iterations: int
    seconds: float
    env_steps: int
    processes: Mapping[str, ProcessTimes]
    counts: Mapping[str, int]
    arithmetic: Arithmetic

    @property
    def env_steps_per_s(self) -> float:
        return self.env_steps / self.seconds


def measure(
    setup: TrialSetup, num_gpus_per_learner: float, seconds: float, folder: Path
) -> Measured:
    """Trains in a process of its own for at least so many seconds.

    Args:
        setup: of the trial.
        num_gpus_per_learner: of the trial.
        seconds: after `WARM_UP`.
        folder: for Tune's files.

    Raises:
        TrialError: training failed.
    """
    task = {"setup": setup, "num_gpus_per_learner": num_gpus_per_learner, "seconds": seconds}
    (result,) = tune.Tuner(
        MeasuredTrial,
        param_space={"task": tune.grid_search([task])},
        run_config=tune.RunConfig(
            storage_path=str(folder),
            checkpoint_config=tune.CheckpointConfig(
                checkpoint_frequency=0, checkpoint_at_end=False
            ),
            verbose=0,
            progress_reporter=tune.CLIReporter(),
        ),
    ).fit()
    if result.error is not None:
        raise TrialError(_describe(result.error))
    measured: Measured = result.metrics["measured"]
    return measured


def _describe(error: Exception) -> str:
    """Returns what a trial's process failed of, of this package's own errors the message."""
    cause = getattr(error, "cause", None) or error
    text = str(cause).strip()
    return text if isinstance(cause, EmpoError) else f"{type(cause).__name__}: {text}"


class MeasuredTrial(tune.Trainable):
    """A trial that trains as `ExperimentTrial` does, and keeps nothing."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> Any:
        """Returns the placement group that RLlib asks for with these settings."""
        task = config["task"]
        algorithm = build_algorithm_config(task["setup"], task["num_gpus_per_learner"])
        return algorithm.algo_class.default_resource_request(algorithm)

    def setup(self, config: dict[str, Any]) -> None:
        """Builds the algorithm."""
        task = config["task"]
        setup: TrialSetup = task["setup"]
        self._seconds = task["seconds"]
        self._error_file = Path(self.logdir, "env_error.txt")
        leave_out_torch_compiler()
        seed_everything(setup.config.seed)
        built = build_algorithm_config(setup, task["num_gpus_per_learner"], self._error_file)
        self._algorithm = built.algo_class(config=built, storage=self._storage)

    def step(self) -> dict[str, Any]:
        """Measures."""
        measured = _measure(self._algorithm, self._train, self._seconds)
        return {"measured": measured, "done": True}

    def cleanup(self) -> None:
        """Ends the processes of the algorithm."""
        self._algorithm.stop()

    def _train(self) -> Mapping[str, Any]:
        """Trains for one iteration; an environment's error goes before what came of it."""
        try:
            return self._algorithm.train()
        finally:
            raise_env_error(self._error_file)


def _measure(
    algorithm: Algorithm, train: Callable[[], Mapping[str, Any]], seconds: float
) -> Measured:
    results: list[Mapping[str, Any]] = []
    for _ in range(WARM_UP):
        train()
    times: dict[str, list[ProcessTimes]] = {}
    with _stopwatches(algorithm, times):
        started = time.perf_counter()
        while len(results) < _LEAST_ITERATIONS or time.perf_counter() - started < seconds:
            results.append(train())
        took = time.perf_counter() - started
    count = len(results)
    return Measured(
        iterations=count,
        seconds=took,
        env_steps=sum(map(sampled_env_steps, results)),
        processes={kind: mean_times(several, count) for kind, several in times.items()},
        counts={kind: len(several) for kind, several in times.items()},
        arithmetic=count_arithmetic(algorithm, results),
    )


@contextlib.contextmanager
def _stopwatches(algorithm: Algorithm, times: dict[str, list[ProcessTimes]]) -> Iterator[None]:
    """Runs a stopwatch in each process of a trial, and leaves what it has counted in `times`."""
    groups = {}
    if algorithm.env_runner_group.num_remote_env_runners():
        runners = algorithm.env_runner_group
        groups[ENV_RUNNER] = lambda do: runners.foreach_env_runner(do, local_env_runner=False)
    if algorithm.learner_group.is_remote:
        learners = algorithm.learner_group
        groups[LEARNER] = lambda do: [one.get() for one in learners.foreach_learner(do)]
    for call in groups.values():
        call(start_stopwatch)
    start_stopwatch()
    yield
    times[TRIAL] = [stop_stopwatch()]
    for kind, call in groups.items():
        times[kind] = call(stop_stopwatch)
