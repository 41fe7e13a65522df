"""Learning curves over seeds, and whether two sets of them are the same: plain functions."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

Rows = Sequence[Mapping[str, Any]]
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval; arrays where it is of curves."""

    mean: Any
    low: Any
    high: Any


def curve(rows: Rows, env_steps: np.ndarray, key: str = "episode_return_mean") -> np.ndarray:
    """Returns one run's returns at these env steps, linear between training iterations.

    Before the first episode ended there is no return: the first known one counts.
    """
    known = [(row["env_steps"], row[key]) for row in rows if row.get(key) is not None]
    steps, values = np.array(known, dtype=float).T
    return np.interp(env_steps, steps, values)


def checkpoints(env_steps: int, number: int) -> np.ndarray:
    """Returns `number` evenly spaced env steps, the last of them `env_steps`."""
    return np.linspace(0, env_steps, number + 1)[1:]


def mean_interval(values: np.ndarray) -> Interval:
    """Student's 95 % interval of the mean over the first axis, the seeds."""
    mean, error = values.mean(0), stats.sem(values, axis=0)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * error
    return Interval(mean, mean - half, mean + half)


def difference_interval(ours: np.ndarray, theirs: np.ndarray) -> Interval:
    """Welch's 95 % interval of the difference of the means over the first axis, the seeds."""
    difference = ours.mean(0) - theirs.mean(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # seeds without any spread
        test = stats.ttest_ind(ours, theirs, axis=0, equal_var=False)
        interval = test.confidence_interval(CONFIDENCE)
    # Those have no interval: there the difference itself decides.
    low = np.where(np.isnan(interval.low), difference, interval.low)
    high = np.where(np.isnan(interval.high), difference, interval.high)
    return Interval(difference, low, high)


def contains_zero(interval: Interval) -> np.ndarray:
    """Whether the interval contains 0, elementwise."""
    return (interval.low <= 0) & (interval.high >= 0)


@dataclass(frozen=True)
class Comparison:
    """Ours less theirs.

    Attributes:
        at_checkpoints: difference of the returns at each of `env_steps`.
        area: difference of the mean return over all of training: the area between the curves.
    """

    env_steps: np.ndarray
    at_checkpoints: Interval
    area: Interval

    @property
    def same_area(self) -> bool:
        """Whether the interval of the area contains 0: the one test that decides."""
        return bool(contains_zero(self.area))

    @property
    def same_checkpoints(self) -> int:
        """At how many checkpoints the interval contains 0; one in 20 misses it by chance."""
        return int(contains_zero(self.at_checkpoints).sum())


def compare(ours: Sequence[Rows], theirs: Sequence[Rows], env_steps: int) -> Comparison:
    """Compares returns against env steps over the seeds of both."""
    at, fine = checkpoints(env_steps, 10), checkpoints(env_steps, 200)

    def curves(runs: Sequence[Rows], points: np.ndarray) -> np.ndarray:
        return np.array([curve(rows, points) for rows in runs])

    return Comparison(
        env_steps=at,
        at_checkpoints=difference_interval(curves(ours, at), curves(theirs, at)),
        area=difference_interval(curves(ours, fine).mean(1), curves(theirs, fine).mean(1)),
    )


def steps_to(rows: Rows, target: float, key: str = "episode_return_mean") -> Mapping | None:
    """Returns the first row that reached the target; None if none did."""
    for row in rows:
        if row.get(key) is not None and row[key] >= target:
            return row
    return None
