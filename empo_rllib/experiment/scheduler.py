"""Which trials go on: Tune's FIFO, a population's scheduler, or ASHA with the run's past.

Tune starts anew in each session of a run. ASHA then reads the rows of the earlier sessions from
the trials' `progress.csv`, in the order in which they were written, and so knows what a scheduler
that had never been interrupted would know. In a job of an array it reads there, too, what the
trials of other jobs have reported, before each decision.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from empo_rllib import columns
from empo_rllib.config.population_settings import settings_of
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.config.tune_settings import AshaScheduler
from empo_rllib.errors import RunError
from empo_rllib.experiment.checkpoints import newest_intact, read_counters
from empo_rllib.experiment.metrics import Row, is_settled
from empo_rllib.experiment.population_scheduler import PopulationScheduler
from empo_rllib.experiment.progress_file import read_progress
from empo_rllib.experiment.share import Share
from empo_rllib.experiment.summary import TrialStatus, TrialSummary, read_summary
from empo_rllib.experiment.trial import TrialTask


def build_scheduler(
    config: ExperimentConfig, share: Share, notice: Callable[[str], None]
) -> TrialScheduler:
    """Returns Tune's FIFO or ASHA scheduler (Li et al. 2020, arXiv:1810.05934), or a population's.

    They know what is in the run folder; the pending trials of the run are yet to go on.
    """
    if settings_of(config.tune.scheduler):
        return PopulationScheduler(config, share.result, notice)
    if not isinstance(config.tune.scheduler, AshaScheduler):
        return FIFOScheduler()
    settings = config.tune.scheduler.asha
    scheduler = ResumableAsha(
        time_attr=columns.ENV_STEPS,
        metric=config.tune.objective.metric,
        mode=config.tune.objective.mode,
        max_t=settings.max_t or config.stop.env_steps,
        grace_period=settings.grace_period,
        reduction_factor=settings.reduction_factor,
        brackets=1,  # with more, Tune draws each trial's bracket at random
        read_others=None if share.task is None else lambda: read_others(share),
    )
    scheduler.replay(read_histories(share))
    return scheduler


@dataclass(frozen=True)
class History:
    """What a trial has reported in earlier sessions, or to another job.

    Attributes:
        trial_id: Ours.
        rows: Those that stay; a trial that is to go on trains again what came after its checkpoint.
        status: Of the trial.
        went_on: Whether it trained on after the last of `rows`, so was not stopped there.
    """

    trial_id: str
    rows: list[Row]
    status: TrialStatus
    went_on: bool = False

    @property
    def is_over(self) -> bool:
        """Whether the last row is the last of all."""
        return self.status in ("finished", "stopped")


def read_histories(share: Share) -> list[History]:
    """Reads what the trials of a run have reported."""
    going_on = {trial.trial_id for trial in share.open_trials()}
    return [
        _read_history(Path(share.result.folder) / trial.trial_id, trial, trial.trial_id in going_on)
        for trial in share.result.trials
    ]


def read_others(share: Share) -> list[History]:
    """Reads what trials have reported that other jobs of the array have taken.

    What is damaged there is theirs to tell.
    """
    folder = Path(share.result.folder)
    histories = []
    for trial in read_summary(folder).trials:
        if trial.array_task not in (None, share.task):
            with contextlib.suppress(RunError):
                histories.append(_read_history(folder / trial.trial_id, trial, goes_on=False))
    return histories


def _read_history(folder: Path, trial: TrialSummary, goes_on: bool) -> History:
    rows = read_progress(folder)
    if not goes_on:
        return History(trial.trial_id, rows, trial.status)
    checkpoint = newest_intact(folder)
    last = read_counters(checkpoint)["training_iteration"] if checkpoint else 0
    kept = [row for row in rows if row["training_iteration"] <= last]
    return History(trial.trial_id, kept, trial.status, went_on=len(kept) < len(rows))


@dataclass(frozen=True)
class _OurTrial:
    """All that ASHA reads of a trial. Tune gives a trial another id in each session."""

    trial_id: str

    @staticmethod
    def of(trial: Trial) -> _OurTrial:
        return _OurTrial(TrialTask.of(trial.config).trial_id)


class ResumableAsha(ASHAScheduler):
    """Tune's ASHA, which keeps its rungs by our trial ids and can be told the run's past.

    Args:
        read_others: Returns what the trials of an array's other jobs have reported so far.
        settings: Of Tune's scheduler.
    """

    def __init__(
        self,
        read_others: Callable[[], Sequence[History]] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self._read_others = read_others
        self._replayed: dict[str, float] = {}  # the newest iteration of each trial
        # Of the row that a trial goes on from, and which it reports again when it has started.
        self._verdicts: dict[str, str] = {}

    def replay(self, histories: Sequence[History]) -> None:
        """Takes the rows of others as if they were reported now, in their order, each once."""
        for history in histories:
            if history.trial_id not in self._replayed:
                super().on_trial_add(None, _OurTrial(history.trial_id))
        # `merge` keeps the order within a trial, even where the clocks of two nodes differ.
        reports = heapq.merge(
            *(_reports(history, self._replayed.get(history.trial_id, 0)) for history in histories),
            key=lambda report: report[1]["timestamp"],
        )
        for history, row, is_last in reports:
            trial = _OurTrial(history.trial_id)
            # As Tune does, which does not ask about a row that says the trial is finished.
            if not (is_last and history.status == "finished"):
                decision = super().on_trial_result(None, trial, self._settled(row))
                went_on = not is_last or history.went_on
                self._verdicts[trial.trial_id] = self.CONTINUE if went_on else decision
            if is_last and history.is_over:
                super().on_trial_complete(None, trial, self._settled(row))
        for history in histories:
            self._note_replayed(history)

    def _note_replayed(self, history: History) -> None:
        last_row = history.rows[-1] if history.rows else {}
        self._replayed[history.trial_id] = last_row.get("training_iteration", 0)
        # A row that was not known to be the last when it was taken: Tune records it once more where
        # the trial was stopped on it.
        is_recorded_again = (
            history.status == "stopped" or last_row.get(self._time_attr, 0) >= self._max_t
        )
        if history.is_over and history.trial_id in self._trial_info and is_recorded_again:
            trial = _OurTrial(history.trial_id)
            super().on_trial_complete(None, trial, self._settled(last_row))

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        super().on_trial_add(tune_controller, _OurTrial.of(trial))

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        ours, row = _OurTrial.of(trial), self._settled(result)
        if known := self._verdicts.pop(ours.trial_id, None):
            return known
        if self._read_others is not None and self._is_at_new_rung(ours, row):
            self.replay(self._read_others())
        return super().on_trial_result(tune_controller, ours, row)

    def _is_at_new_rung(self, trial: _OurTrial, row: dict[str, Any]) -> bool:
        """Whether there is something to decide, which the rows of others bear on."""
        return self._metric in row and any(
            row[self._time_attr] >= milestone and trial.trial_id not in recorded
            for milestone, recorded in self._brackets[0]._rungs
        )

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        super().on_trial_complete(tune_controller, _OurTrial.of(trial), self._settled(result))

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        super().on_trial_remove(tune_controller, _OurTrial.of(trial))

    def _settled(self, row: dict[str, Any]) -> dict[str, Any]:
        """Returns a row without what ASHA must not decide on."""
        if is_settled(self._metric, row):
            return row
        return {key: value for key, value in row.items() if key != self._metric}


def _reports(history: History, after: float) -> Iterator[tuple[History, Row, bool]]:
    """Yields the rows of a history after an iteration; the last one is marked."""
    for number, row in enumerate(history.rows, start=1):
        if row["training_iteration"] > after:
            yield history, row, number == len(history.rows)
