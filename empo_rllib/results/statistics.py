"""Robust statistics of returns over episodes or seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BOOTSTRAP_RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """Mean, interquartile mean and the 95 % bootstrap interval of the latter's source mean.

    `low` and `high` bound the mean; they are None for fewer than two values.
    """

    n: int
    mean: float
    interquartile_mean: float
    low: float | None
    high: float | None


def estimate(values: Sequence[float], seed: int = 0) -> Estimate:
    """Returns the statistics of at least one value.

    The interquartile mean is that of Agarwal et al. 2021, "Deep reinforcement learning at the
    edge of the statistical precipice"; the interval is scipy's percentile bootstrap.
    """
    import numpy as np
    from scipy import stats

    array = np.asarray(values, dtype=np.float64)
    low = high = None
    if len(array) > 1:
        interval = stats.bootstrap(
            (array,),
            np.mean,
            n_resamples=BOOTSTRAP_RESAMPLES,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return Estimate(
        n=len(array),
        mean=float(array.mean()),
        interquartile_mean=float(stats.trim_mean(array, 0.25)),
        low=low,
        high=high,
    )
