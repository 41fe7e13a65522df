"""Hands Tune trials one by one, each when it may start.

A job of an array takes a trial for itself then, and Optuna chooses its values. Tune schedules and
forgets: the study in the run folder (`study.py`) is all that a search knows, and trials are ours
as in every other run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from empo_rllib.config.schema import MAX_TRIALS, ExperimentConfig
from empo_rllib.errors import EmpoError
from empo_rllib.experiment import interrupt
from empo_rllib.experiment.plan import plan_chosen_trial
from empo_rllib.experiment.share import Share
from empo_rllib.experiment.summary import TrialSummary
from empo_rllib.experiment.trial import TrialTask
from empo_rllib.trials import has_values

if TYPE_CHECKING:
    from empo_rllib.experiment.study import Study


class TrialQueue(Searcher):
    """Starts trials; with `tune.search`, with the values that the run's study chooses.

    Tune asks for a trial when one may start (`trials_at_a_time`), so that the choice rests on as
    many results as possible, and no job of an array takes a trial that another could start now.

    Args:
        config: The experiment.
        share: Its trials; those whose values are chosen keep them.
        tasks: The trials that may run in this session; the setups of those without values stand
            for what will be chosen.
        notice: Prints a line for the user.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        share: Share,
        tasks: Sequence[TrialTask],
        notice: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._config = config
        self._share = share
        self._tasks = {task.trial_id: task for task in tasks}
        self._notice = notice
        self._opened: Study | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its searcher to restore experiments; ours are never restored.
        return {}

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict, **spec: Any
    ) -> bool:
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Returns the config of the next trial of this session, or that all have begun."""
        while not interrupt.current.asked.is_set():
            with self._share.locked():
                entry = self._share.claim(self._tasks)
                if entry is None:
                    break
                has_own_values = has_values(self._config, entry.spec)
                if not has_own_values:
                    entry.params = self._study().choose(entry.trial_id)
                self._tell_others(entry)
            planned = self._tasks.pop(entry.trial_id)
            if task := planned if has_own_values else self._plan(planned, entry):
                return {"task": task}
        return self.FINISHED

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Does nothing: `StudyRecorder` comes later, and knows how the trial ended."""

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing: the study is in the run folder."""

    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing: Tune's own state is never read again."""

    def record(self, entry: TrialSummary) -> None:
        """Records the end of a trial in the study; a full disk leaves that to the next session."""
        try:
            with self._share.locked():
                self._study().record(entry)
        except OSError as error:
            self._opened = None  # its journal may end in half a line
            self._notice(f"the study cannot be written: {error}; --resume records what is missing")

    def _tell_others(self, entry: TrialSummary) -> None:
        """Writes whose trial it is, and its values."""
        try:
            self._share.push()
        except OSError:
            if self._share.task is not None:  # a process of its own has them in the study, too
                entry.array_task = None
                raise

    def _plan(self, task: TrialTask, entry: TrialSummary) -> TrialTask | None:
        """Returns a task with the values just chosen, or None where they do not go together."""
        try:
            return replace(task, setup=plan_chosen_trial(self._config, entry.spec).setup)
        except EmpoError as error:
            entry.status, entry.error = "failed", str(error)
            self.record(entry)
            return None

    def _study(self) -> Study:
        """Opens the study, of which the other jobs of an array know; while the share is locked."""
        if self._opened is None:
            from empo_rllib.experiment.study import Study

            self._share.pull()
            result = self._share.result
            self._opened = Study(self._config, Path(result.folder), result.trials)
        return self._opened


def trials_at_a_time(
    config: ExperimentConfig, needs: Mapping[str, float], resources: Mapping[str, float]
) -> int:
    """Returns how many trials of a search may run at a time, at least one.

    Args:
        config: The experiment.
        needs: Resources of one trial, by name.
        resources: Those of the cluster as the session starts.
    """
    fitting = [int(resources.get(name, 0) / amount) for name, amount in needs.items() if amount]
    return max(1, min([*fitting, config.tune.max_concurrent or MAX_TRIALS]))


class StudyRecorder(tune.Callback):
    """Records the ends of trials in the study, once the monitor has noted them in the summary."""

    def __init__(self, queue: TrialQueue, share: Share) -> None:
        self._queue = queue
        self._result = share.result

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._record(trial)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._record(trial)

    def _record(self, trial: Trial) -> None:
        self._queue.record(self._result.trial(TrialTask.of(trial.config).trial_id))
