"""Learning curves: columns of `progress.csv` against env steps or seconds, means over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from empo_rllib.results.report.groups import TrialGroup
from empo_rllib.results.report.runs import ReportedTrial
from empo_rllib.statistics import BOOTSTRAP_RESAMPLES

MAX_POINTS = 80


@dataclass(frozen=True)
class Curve:
    """One trial's values where it has any: `xs` ascending, `ys` as long."""

    xs: np.ndarray
    ys: np.ndarray


@dataclass(frozen=True)
class Series:
    """A group's curves, and their mean at common places.

    Attributes:
        label: the group.
        number: which colour and dash it has.
        curves: one per trial that has values.
        xs: the places, ascending, the same for all series of a chart.
        mean: there; NaN before every trial has a value, and after all have ended. A trial that has
        ended counts with its last value.
        low: lower end of the 95 % interval of the mean; NaN also for a single trial.
        high: its upper end.
    """

    label: str
    number: int
    curves: Sequence[Curve]
    xs: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def build_series(groups: Sequence[TrialGroup], column: str, axis: str) -> list[Series]:
    """Returns the series of one chart.

    Args:
        groups: in the order of their colours; those without a value get no series.
        column: of `progress.csv`, on the y axis.
        axis: the column on the x axis.
    """
    curves = [[read_curve(trial, column, axis) for trial in group.trials] for group in groups]
    present = [[curve for curve in of_group if len(curve.xs)] for of_group in curves]
    xs = _places([curve.xs for of_group in present for curve in of_group])
    series = []
    for number, (group, of_group) in enumerate(zip(groups, present, strict=True)):
        if of_group:
            end = max(curve.xs[-1] for curve in of_group)
            values = np.stack([_at(xs, curve, end) for curve in of_group])
            low, high = interval_of_mean(values)
            mean = values.mean(axis=0)
            series.append(Series(group.label, number, of_group, xs, mean, low, high))
    return series


def read_curve(trial: ReportedTrial, column: str, axis: str) -> Curve:
    """Returns a column without the rows that lack it or hold no finite number."""
    points = [
        (row[axis], row[column])
        for row in trial.rows
        if math.isfinite(row[axis]) and math.isfinite(row.get(column, math.nan))
    ]
    array = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    return Curve(array[:, 0], array[:, 1])


def interval_of_mean(values: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns the 95 % percentile bootstrap interval of the mean over trials.

    The same trials are drawn at all places, as whole curves.

    Args:
        values: shape (trials, places).
        seed: of the draws.

    Returns:
        The lower and upper ends, each of shape (places,); NaN for fewer than two trials.
    """
    num_trials, num_places = values.shape
    if num_trials < 2:
        return np.full(num_places, np.nan), np.full(num_places, np.nan)
    drawn = np.random.default_rng(seed).integers(num_trials, size=(BOOTSTRAP_RESAMPLES, num_trials))
    # How often each trial was drawn, so that one product gives all means.
    weights = np.stack([(drawn == trial).mean(axis=1) for trial in range(num_trials)], axis=1)
    known = np.isfinite(values).all(axis=0)
    low, high = np.full(num_places, np.nan), np.full(num_places, np.nan)
    if known.any():
        means = weights @ values[:, known]
        low[known], high[known] = np.percentile(means, [2.5, 97.5], axis=0)
    return low, high


def _places(xs: Sequence[np.ndarray]) -> np.ndarray:
    """All places where a trial has a value, or evenly spaced ones where these are too many."""
    if not xs:
        return np.empty(0)
    union = np.unique(np.concatenate(xs))
    return union if len(union) <= MAX_POINTS else np.linspace(union[0], union[-1], MAX_POINTS)


def _at(xs: np.ndarray, curve: Curve, end: float) -> np.ndarray:
    values = np.interp(xs, curve.xs, curve.ys, left=np.nan)
    return np.where(xs <= end, values, np.nan)
