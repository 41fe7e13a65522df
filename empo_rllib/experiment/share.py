"""Which trials of a run this process trains: all, or those that it takes as a job of an array.

The jobs of an array meet in the run folder alone. `summary.json` says which job has taken which
trial (`array_task`), and each job writes the entries of its own trials, under a lock.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from empo_rllib.config.population_settings import Pb2Scheduler, PbtScheduler, ReplayScheduler
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.errors import ConfigError
from empo_rllib.experiment.run_folder import is_free, wait_for_array_lock
from empo_rllib.experiment.summary import ExperimentResult, TrialSummary, read_summary
from empo_rllib.trials import sample_trials


@dataclass(frozen=True)
class ArrayTask:
    """A job of an array.

    Attributes:
        array: What the jobs of one array have in common; in SLURM the array's job id.
        number: This job's own, 0 or more.
    """

    array: str
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `1234_0`, as SLURM writes the first job of the array 1234.

        Raises:
            ConfigError: It is not of that form.
        """
        form = re.fullmatch(r"([\w.-]+)_([0-9]{1,6})", text, re.ASCII)
        if form is None:
            raise ConfigError(
                f"--array-task: {text!r} is not ARRAY_NUMBER, such as 1234_0: the same name or "
                "number for all jobs of the array, and a number of this job's own."
            )
        return cls(form[1], int(form[2]))


def check_shareable(config: ExperimentConfig, num_jobs: int | None = None) -> None:
    """Refuses an experiment whose trials wait for each other, and jobs without a trial.

    Raises:
        ConfigError: as said.
    """
    scheduler = config.tune.scheduler
    if isinstance(scheduler, PbtScheduler | Pb2Scheduler | ReplayScheduler):
        (name,) = scheduler.model_dump()
        raise ConfigError(
            f"tune.scheduler = {name}: not in an array, whose jobs train their trials apart from "
            "each other. Submit one job with several nodes: --nodes N in the place of --array N."
        )
    num_trials = len(sample_trials(config))
    if num_jobs is not None and num_jobs > num_trials:
        raise ConfigError(
            f"--array {num_jobs}: {config.name} has {num_trials} "
            f"{'trial' if num_trials == 1 else 'trials'}, and a job trains one or more. "
            "Give fewer jobs, or more trials (tune.num_samples)."
        )


class Share:
    """The trials of a run that this process trains, and how it writes what becomes of them.

    Args:
        result: The run. The entries of trials that other jobs have taken are read again whenever
            this process writes its own.
        task: The number of this job in its array; None trains every trial.
    """

    def __init__(self, result: ExperimentResult, task: int | None = None) -> None:
        self.result = result
        self.task = task
        self._folder = Path(result.folder)

    def file_of_its_own(self, name: str) -> str:
        """Returns a name in the run folder that no other job of the array uses."""
        return name if self.task is None else f"{name}_{self.task}"

    def trials(self) -> list[TrialSummary]:
        """Returns the trials that this process has taken."""
        return self.result.trials_of(self.task)

    def open_trials(self) -> list[TrialSummary]:
        """Returns the trials that this process may train and that are not over, its own first."""
        free = (None, self.task)
        left = [t for t in self.result.trials if t.array_task in free and not t.is_over]
        return sorted(left, key=lambda trial: trial.array_task is None)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps the other jobs of the array from reading or writing the run's files; no re-entry.

        Raises:
            OSError: The run folder cannot be written.
        """
        if self.task is None:
            yield
            return
        with wait_for_array_lock(self._folder):
            yield

    def pull(self) -> None:
        """Reads what the other jobs have written; while `locked`."""
        if self.task is None:
            return
        written = read_summary(self._folder)
        for number, entry in enumerate(self.result.trials):
            if entry.array_task != self.task:
                self.result.trials[number] = written.trials[number]

    def push(self) -> None:
        """Writes `summary.json`; while `locked`, after `pull`."""
        self.result.update()
        self.result.write()

    @contextlib.contextmanager
    def updating(self) -> Iterator[None]:
        """Writes what changes in the block, and this process's trials, into `summary.json`.

        Raises:
            OSError, RunError: It cannot be read or written.
        """
        with self.locked():
            self.pull()
            yield
            self.push()

    def begin(self) -> None:
        """Makes the trials that this job may train pending; while `locked`."""
        for trial in self.open_trials():
            trial.status, trial.stop_reason, trial.error = "pending", "", None
        self.result.status = "running"
        self.push()

    def claim(self, ids: Container[str]) -> TrialSummary | None:
        """Takes the next of these trials that no other job has taken; while `locked`.

        The others do not know of it before `push`.
        """
        self.pull()
        found = next((trial for trial in self.open_trials() if trial.trial_id in ids), None)
        if found is not None:
            found.array_task = self.task
        return found

    def settle(self, interrupted: bool) -> None:
        """Gives the trials of this process their final status; one that trains all, the run, too.

        Raises:
            OSError, RunError: As for `updating`.
        """
        for trial in self.trials():
            trial.settle(interrupted)
        if self.task is None:
            self.result.settle(interrupted)
        with self.updating():
            pass

    def leave(self) -> None:
        """Settles the run if this job, which has let go of it, was the last of its array."""
        # A disk that refuses it has refused the job's own entries before, which was told.
        with contextlib.suppress(OSError), self.locked():
            self.pull()
            if is_free(self._folder):
                self.result.settle(interrupted=True)
                self.push()
