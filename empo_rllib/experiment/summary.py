"""What an experiment came to: the content of `summary.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from empo_rllib.config.tune_settings import Mode
from empo_rllib.errors import RunError
from empo_rllib.experiment.population import Change
from empo_rllib.experiment.progress_file import read_progress
from empo_rllib.files import write_whole
from empo_rllib.json_text import read_json
from empo_rllib.statistics import estimate, non_dominated
from empo_rllib.trials import TrialSpec

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SUMMARY_FILE = "summary.json"

Status = Literal["running", "finished", "interrupted", "failed"]
TrialStatus = Literal["pending", "running", "finished", "stopped", "interrupted", "failed"]


class TrialSummary(BaseModel):
    """One trial: what it ran with and its newest numbers.

    `pending` means that it has not started; `stopped` that the scheduler ended it early; `metric`
    is the value of `tune.metric`; `is_settled` says whether that is not a mean over too few
    episodes; `scores` has, where `tune.metric` is a list, the last settled value of each;
    `env_runner_hosts` is where its env runners ran last, one host name each;
    `checkpoint` is the newest, `best_checkpoint` the one with the best score, `best_score`. A
    member of a population started with `params`; `schedule` says what it changed to since, and whom
    it copied. `array_task` is the number of the job that has taken it, in the array of the run.
    """

    model_config = ConfigDict(extra="forbid")

    trial_id: str
    params: dict[str, Any]
    seed: int
    status: TrialStatus = "pending"
    stop_reason: str = ""
    env_steps: int = 0
    agent_steps: int = 0
    episodes: int = 0
    time_s: float = 0.0
    env_steps_per_s: float | None = None
    episode_return_mean: float | None = None
    metric: float | None = None
    is_settled: bool = True
    scores: dict[str, float] = {}
    env_runner_hosts: list[str] = []
    checkpoint: str | None = None
    best_checkpoint: str | None = None
    best_score: float | None = None
    schedule: list[Change] = []
    array_task: int | None = None
    error: str | None = None

    @property
    def spec(self) -> TrialSpec:
        """What was sampled for it when the run was started."""
        return TrialSpec(trial_id=self.trial_id, seed=self.seed, params=self.params)

    @property
    def is_over(self) -> bool:
        """Whether a resumed run leaves this trial alone (unless its limits were raised)."""
        return self.status in ("finished", "stopped")

    def settle(self, interrupted: bool) -> None:
        """Gives a trial that nobody runs any more its final status.

        In an interrupted run a trial that has never started stays `pending`.
        """
        if not interrupted and self.status in ("pending", "running"):
            self.status = "failed"
        elif self.status == "running" or (self.status == "pending" and self.env_steps):
            self.status = "interrupted"


class Group(BaseModel):
    """Trials that differ only in the seed; statistics of their `episode_return_mean`."""

    params: dict[str, Any]
    trials: list[str]
    n: int
    mean: float
    interquartile_mean: float
    interval_95: tuple[float, float] | None


class ExperimentResult(BaseModel):
    """The content of `summary.json` and what `empo_rllib.run` returns.

    Where `tune.metric` is a list, `metric` and `mode` are the first, `objectives` are all, metric
    to mode, and `pareto_front` names the trials that no other betters in all of them. `array`
    names the array whose jobs share the trials (`share.py`), None where one process trains all.
    """

    model_config = ConfigDict(extra="forbid")

    status: Status
    sampler: str
    sampler_reason: str
    networks: dict[str, str] = {}  # by policy; runs of older versions have none
    metric: str
    mode: Mode
    objectives: dict[str, Mode] = {}
    best_trial: str | None = None
    pareto_front: list[str] = []
    trials: list[TrialSummary]
    groups: list[Group] = []
    array: str | None = None
    folder: str

    @model_validator(mode="after")
    def _check_best(self) -> ExperimentResult:
        if self.best_trial and self.best_trial not in {trial.trial_id for trial in self.trials}:
            raise ValueError(f"best_trial {self.best_trial} is none of its trials")
        return self

    def trial(self, trial_id: str) -> TrialSummary:
        """Returns the trial with this id."""
        return next(trial for trial in self.trials if trial.trial_id == trial_id)

    def trials_of(self, task: int | None) -> list[TrialSummary]:
        """Returns the trials that a job of an array has taken; None stands for all trials."""
        return [trial for trial in self.trials if task is None or trial.array_task == task]

    def best(self) -> TrialSummary | None:
        """Returns the best trial by `metric`, or None before any has reported it."""
        return self.trial(self.best_trial) if self.best_trial else None

    def to_pandas(self) -> pd.DataFrame:
        """Returns a row for each trial: what it varied, and its newest numbers."""
        import pandas as pd

        plain = [trial.model_dump(exclude={"params"}) for trial in self.trials]
        rows = [row | trial.params for row, trial in zip(plain, self.trials, strict=True)]
        return pd.DataFrame(rows)

    def history(self) -> pd.DataFrame:
        """Returns the rows of all trials' `progress.csv`, with `trial_id` and what each varied.

        Raises:
            RunError: A `progress.csv` is damaged.
        """
        import pandas as pd

        rows = [
            {"trial_id": trial.trial_id, **trial.params, **row}
            for trial in self.trials
            for row in read_progress(Path(self.folder) / trial.trial_id)
        ]
        return pd.DataFrame(rows)

    def plot(self, metric: str | None = None) -> Figure:
        """Returns a matplotlib figure of a metric against env steps, with a line for each trial.

        Args:
            metric: A column of `history()`; the run's own metric by default.

        Raises:
            ConfigError: No trial has reported it, or matplotlib is not installed.
            RunError: A `progress.csv` is damaged.
        """
        from empo_rllib.experiment.plot import plot_curves

        return plot_curves(self.history(), metric or self.metric, _varied(self.trials))

    def __repr__(self) -> str:
        columns = ["trial_id", "seed", *_varied(self.trials), "status", "env_steps", "metric"]
        table = self.to_pandas()[columns].set_axis([*columns[:-1], self.metric], axis=1)
        best = f"best {self.best_trial}" if self.best_trial else "no best trial yet"
        return f"{self.folder}: {self.status}, {best}\n{table.to_string(index=False, na_rep='-')}"

    __str__ = __repr__

    def update(self) -> None:
        """Derives `best_trial`, `pareto_front` and `groups` from the trials."""
        if (best := best_of(self.trials, self.mode)) is not None:
            self.best_trial = best.trial_id
        self.pareto_front = pareto_front(self.trials, self.objectives)
        self.groups = build_groups(self.trials)

    def settle(self, interrupted: bool) -> None:
        """Gives the run, and trials that nobody runs any more, their final status."""
        for trial in self.trials:
            trial.settle(interrupted)
        statuses = {trial.status for trial in self.trials}
        if statuses & {"interrupted", "pending"}:
            self.status = "interrupted"
        else:
            self.status = "failed" if "failed" in statuses else "finished"

    def write(self) -> None:
        """Writes `summary.json`."""
        text = self.model_dump_json(indent=2, exclude={"folder"}) + "\n"
        write_whole(Path(self.folder) / SUMMARY_FILE, text)


def _varied(trials: Sequence[TrialSummary]) -> list[str]:
    """Returns the keys whose values trials have of their own, in the order of the file."""
    return list(dict.fromkeys(key for trial in trials for key in trial.params))


def best_of(trials: Sequence[TrialSummary], mode: Literal["max", "min"]) -> TrialSummary | None:
    """Returns the trial with the best `metric`, or None before any has reported it."""
    scored = [trial for trial in trials if trial.metric is not None]
    # A mean over few episodes counts only where all are.
    scored = [trial for trial in scored if trial.is_settled] or scored
    sign = 1 if mode == "max" else -1
    return max(scored, key=lambda trial: sign * (trial.metric or 0.0), default=None)


def pareto_front(trials: Sequence[TrialSummary], objectives: Mapping[str, Mode]) -> list[str]:
    """Returns the trials with a score of every objective that no other trial dominates."""
    scored = [trial for trial in trials if objectives and objectives.keys() <= trial.scores.keys()]
    signs = {metric: 1 if mode == "max" else -1 for metric, mode in objectives.items()}
    points = [[sign * trial.scores[key] for key, sign in signs.items()] for trial in scored]
    return [scored[index].trial_id for index in non_dominated(points)]


def build_groups(trials: Sequence[TrialSummary]) -> list[Group]:
    """Joins trials whose `params` are equal apart from the seed."""
    by_params: dict[str, list[TrialSummary]] = {}
    for trial in trials:
        if trial.episode_return_mean is not None:
            by_params.setdefault(json.dumps(trial.params, sort_keys=True), []).append(trial)
    groups = []
    for members in by_params.values():
        stats = estimate([trial.episode_return_mean or 0.0 for trial in members])
        interval = None if stats.low is None or stats.high is None else (stats.low, stats.high)
        groups.append(
            Group(
                params=members[0].params,
                trials=[trial.trial_id for trial in members],
                n=stats.n,
                mean=stats.mean,
                interquartile_mean=stats.interquartile_mean,
                interval_95=interval,
            )
        )
    return groups


def read_summary(folder: Path) -> ExperimentResult:
    """Reads the summary of a run folder.

    Raises:
        RunError: the folder is not a run folder or its summary is damaged.
    """
    path = folder / SUMMARY_FILE
    try:
        content = read_json(path)
        return ExperimentResult.model_validate({**content, "folder": str(folder)})
    except FileNotFoundError:
        raise RunError(f"{folder}: not a run folder: it has no {SUMMARY_FILE}.") from None
    except (OSError, ValueError, TypeError, ValidationError) as error:
        raise RunError(f"{path}: damaged: {error}") from error
