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
    interval is scipy's percentile bootstrap.

    Args:
        values: one number per episode or seed.
        seed: of the resampling, so that the same values give the same interval.

    Raises:
        ValueError: there is no value.
    """
    import numpy as np
    from scipy import stats

    # In order, so that sums and draws do not depend on the order of the values.
    array = np.sort(np.asarray(values, dtype=np.float64))
    if len(array) == 0:
        raise ValueError("an estimate needs at least one value")
    low = high = None
    if len(array) > 1:
        interval = stats.bootstrap(
            (array,),
            np.mean,
            n_resamples=BOOTSTRAP_RESAMPLES,
            batch=max(1, _DRAWN_AT_ONCE // len(array)),
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
