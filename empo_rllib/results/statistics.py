"""Robust statistics of returns over episodes or seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

BOOTSTRAP_RESAMPLES = 2000
# Values drawn at a time: a million episodes must not need 16 GB.
_DRAWN_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Estimate:
    """What a sample says of its source.

    Attributes:
        n: number of values.
        mean: their mean.
        interquartile_mean: mean of the values between the quartiles.
        low: lower end of the 95 % bootstrap interval of the mean; None for fewer than two values.
        high: its upper end.
    """

    n: int
    mean: float
    interquartile_mean: float
    low: float | None
    high: float | None

    @property
    def interval_95(self) -> tuple[float, float] | None:
        """The 95 % bootstrap interval of the mean; None for fewer than two values."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def to_dict(self) -> dict[str, Any]:
        """Returns the numbers under the names that the result files use."""
        return {
            "n": self.n,
            "mean": self.mean,
            "interquartile_mean": self.interquartile_mean,
            "interval_95": self.interval_95,
        }


def estimate(values: Sequence[float], seed: int = 0) -> Estimate:
    """Returns the statistics of at least one value.

    The interquartile mean drops a quarter of the values, rounded down, at each end (Agarwal et
    al. 2021, "Deep reinforcement learning at the edge of the statistical precipice"). The
    interval is the percentile bootstrap of Efron and Tibshirani 1993, "An introduction to the
    bootstrap", section 13.3.

    Args:
        values: one number per episode or seed.
        seed: of the resampling, so that the same values give the same interval.

    Raises:
        ValueError: there is no value.
    """
    import numpy as np

    array = np.sort(np.asarray(values, dtype=np.float64))
    n = len(array)
    if n == 0:
        raise ValueError("an estimate needs at least one value")
    low = high = None
    if n > 1:
        low, high = _bootstrap_interval(array, seed)
    quarter = n // 4
    return Estimate(
        n=n,
        mean=float(array.mean()),
        interquartile_mean=float(array[quarter : n - quarter].mean()),
        low=low,
        high=high,
    )


def _bootstrap_interval(array: Any, seed: int) -> tuple[float, float]:
    import numpy as np

    rng = np.random.default_rng(seed)
    rows = max(1, _DRAWN_AT_ONCE // len(array))
    means: list[float] = []
    while len(means) < BOOTSTRAP_RESAMPLES:
        shape = (min(rows, BOOTSTRAP_RESAMPLES - len(means)), len(array))
        means.extend(rng.choice(array, shape).mean(axis=1))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
