"""Which trials go on: Tune's FIFO, a population's scheduler, or ASHA with the run's past.

Tune starts anew in each session of a run. ASHA then reads the rows of the earlier sessions from
the trials' `progress.csv`, in the order in which they were written, and so knows what a scheduler
that had never been interrupted would know.
"""

from __future__ import annotations

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
from empo_rllib.experiment.checkpoints import newest_intact, read_counters
from empo_rllib.experiment.metrics import Row, is_settled
from empo_rllib.experiment.population_scheduler import PopulationScheduler
from empo_rllib.experiment.progress_file import read_progress
from empo_rllib.experiment.summary import ExperimentResult, TrialStatus
from empo_rllib.experiment.trial import TrialTask


def build_scheduler(
    config: ExperimentConfig, result: ExperimentResult, notice: Callable[[str], None]
) -> TrialScheduler:
    """Returns Tune's FIFO or ASHA scheduler (Li et al. 2020, arXiv:1810.05934), or a population's.

    They know what is in the run folder; the pending trials of `result` are yet to go on.
    """
    if settings_of(config.tune.scheduler):
        return PopulationScheduler(config, result, notice)
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
    )
    scheduler.replay(read_histories(result))
    return scheduler


@dataclass(frozen=True)
class History:
    """What a trial has reported in earlier sessions.

    Attributes:
        trial_id: Ours.
        rows: Those that stay; a pending trial trains again what came after its checkpoint.
        status: `pending` if the trial is to go on.
        went_on: Whether it trained on after the last of `rows`, so was not stopped there.
    """

    trial_id: str
    rows: list[Row]
    status: TrialStatus
    went_on: bool = False


def read_histories(result: ExperimentResult) -> list[History]:
    """Reads what the trials of a run have reported."""
    return [
        _read_history(Path(result.folder) / trial.trial_id, trial.status) for trial in result.trials
    ]


def _read_history(folder: Path, status: TrialStatus) -> History:
    rows = read_progress(folder)
    if status != "pending":
        return History(folder.name, rows, status)
    checkpoint = newest_intact(folder)
    last = read_counters(checkpoint)["training_iteration"] if checkpoint else 0
    kept = [row for row in rows if row["training_iteration"] <= last]
    return History(folder.name, kept, status, went_on=len(kept) < len(rows))


@dataclass(frozen=True)
class _OurTrial:
    """All that ASHA reads of a trial. Tune gives a trial another id in each session."""

    trial_id: str

    @staticmethod
    def of(trial: Trial) -> _OurTrial:
        return _OurTrial(TrialTask.of(trial.config).trial_id)


class ResumableAsha(ASHAScheduler):
    """Tune's ASHA, which keeps its rungs by our trial ids and can be told the run's past."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Of the row that a trial goes on from, and which it reports again when it has started.
        self._verdicts: dict[str, str] = {}

    def replay(self, histories: Sequence[History]) -> None:
        """Takes the rows of earlier sessions as if they were reported now, in their order."""
        for history in histories:
            super().on_trial_add(None, _OurTrial(history.trial_id))
        # `merge` keeps the order within a trial, even where the clocks of two nodes differ.
        reports = heapq.merge(*map(_reports, histories), key=lambda report: report[1]["timestamp"])
        for history, row, is_last in reports:
            trial = _OurTrial(history.trial_id)
            # As Tune does, which does not ask about a row that says the trial is finished.
            if not (is_last and history.status == "finished"):
                decision = super().on_trial_result(None, trial, self._settled(row))
                went_on = not is_last or history.went_on
                self._verdicts[trial.trial_id] = self.CONTINUE if went_on else decision
            if is_last and history.status != "pending":
                super().on_trial_complete(None, trial, self._settled(row))

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        super().on_trial_add(tune_controller, _OurTrial.of(trial))

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        ours = _OurTrial.of(trial)
        known = self._verdicts.pop(ours.trial_id, None)
        return known or super().on_trial_result(tune_controller, ours, self._settled(result))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        super().on_trial_complete(tune_controller, _OurTrial.of(trial), self._settled(result))

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        super().on_trial_remove(tune_controller, _OurTrial.of(trial))

    def _settled(self, row: dict[str, Any]) -> dict[str, Any]:
        """Returns a row without what ASHA must not decide on."""
        if is_settled(self._metric, row):
            return row
        return {key: value for key, value in row.items() if key != self._metric}


def _reports(history: History) -> Iterator[tuple[History, Row, bool]]:
    """Yields the rows of a history; the last one is marked."""
    for number, row in enumerate(history.rows, start=1):
        yield history, row, number == len(history.rows)
