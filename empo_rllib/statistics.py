"""Robust statistics of returns over episodes or seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

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


@dataclass(frozen=True)
class GroupEstimate:
    """What several runs say of the settings that they have in common.

    Attributes:
        n: number of runs.
        mean: of their scores.
        interquartile_mean: mean of the scores between the quartiles.
        low: lower end of the 95 % interval of the interquartile mean; None for fewer than two runs.
        high: its upper end.
    """

    n: int
    mean: float
    interquartile_mean: float
    low: float | None
    high: float | None

    @property
    def interquartile_mean_interval_95(self) -> tuple[float, float] | None:
        """Its 95 % bootstrap interval; None for fewer than two runs."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def to_dict(self) -> dict[str, Any]:
        """Returns the numbers under the names that the result files use."""
        return {
            "n": self.n,
            "mean": self.mean,
            "interquartile_mean": self.interquartile_mean,
            "interquartile_mean_interval_95": self.interquartile_mean_interval_95,
        }


@dataclass(frozen=True)
class Profile:
    """A performance profile: which share of the runs scores more than each threshold.

    Attributes:
        shares: of the runs, the mean over strata.
        low: lower ends of their pointwise 95 % bootstrap intervals.
        high: the upper ends.
    """

    shares: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Improvement:
    """How likely a run with some settings scores more than one with others.

    Attributes:
        probability: the mean over strata; a tie counts half.
        low: lower end of its 95 % bootstrap interval.
        high: its upper end.
    """

    probability: float
    low: float
    high: float


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
    if len(values) == 0:
        raise ValueError("an estimate needs at least one value")
    if len(values) == 1:  # every training ends with this: it does not wait for scipy's import
        (value,) = map(float, values)
        return Estimate(n=1, mean=value, interquartile_mean=value, low=None, high=None)
    import numpy as np
    from scipy import stats

    # In order, so that sums and draws do not depend on the order of the values.
    array = np.sort(np.asarray(values, dtype=np.float64))
    interval = stats.bootstrap(
        (array,),
        np.mean,
        n_resamples=BOOTSTRAP_RESAMPLES,
        batch=max(1, _DRAWN_AT_ONCE // len(array)),
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(
        n=len(array),
        mean=float(array.mean()),
        interquartile_mean=float(stats.trim_mean(array, 0.25)),
        low=float(interval.low),
        high=float(interval.high),
    )


def stratified_estimate(strata: Sequence[Sequence[float]], seed: int = 0) -> GroupEstimate:
    """Returns the interquartile mean of runs' scores with a stratified bootstrap interval.

    As Agarwal et al. 2021 (section 4.1): runs are drawn with replacement within each stratum, all
    scores are pooled, and the interval is the percentile bootstrap's.

    Args:
        strata: for each environment one score per run, at least one in all.
        seed: of the resampling.

    Raises:
        ValueError: there is no score.
    """
    import numpy as np
    from scipy import stats

    samples = [np.sort(np.asarray(scores, dtype=np.float64)) for scores in strata if len(scores)]
    if not samples:
        raise ValueError("an estimate needs at least one value")
    pooled = np.concatenate(samples)
    low = high = None
    if max(len(sample) for sample in samples) > 1:
        rng = np.random.default_rng(seed)
        resampled = [
            sample[rng.integers(len(sample), size=(BOOTSTRAP_RESAMPLES, len(sample)))]
            for sample in samples
        ]
        means = stats.trim_mean(np.concatenate(resampled, axis=1), 0.25, axis=1)
        low, high = (float(end) for end in np.quantile(means, [0.025, 0.975]))
    return GroupEstimate(
        n=len(pooled),
        mean=float(pooled.mean()),
        interquartile_mean=float(stats.trim_mean(pooled, 0.25)),
        low=low,
        high=high,
    )


def performance_profile(
    strata: Sequence[Sequence[float]], thresholds: np.ndarray, seed: int = 0
) -> Profile:
    """Returns the share of runs that score more than each threshold.

    This is the score distribution of Agarwal et al. 2021 (section 4.2). The bootstrap samples runs
    within each stratum.

    Args:
        strata: for each environment one score per run, at least one each.
        thresholds: shape (thresholds,).
        seed: of the resampling.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    above = [np.sort(scores)[:, None] > thresholds for scores in strata]
    resampled = np.mean([_weights(len(one), rng) @ one for one in above], axis=0)
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    return Profile(np.mean([one.mean(axis=0) for one in above], axis=0), low, high)


def probability_of_improvement(
    ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]], seed: int = 0
) -> Improvement:
    """Returns how likely a run of ours scores more than one of theirs.

    As Agarwal et al. 2021 (section 4.3): the mean over environments of the share of pairs of runs,
    with a stratified bootstrap interval.

    Args:
        ours: for each environment one score per run, at least one each.
        theirs: the same environments in the same order.
        seed: of the resampling.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    shares, resampled = [], []
    for one, other in zip(ours, theirs, strict=True):
        better = 0.5 + 0.5 * np.sign(np.sort(one)[:, None] - np.sort(other))
        shares.append(better.mean())
        rows, columns = (_weights(size, rng) for size in better.shape)
        resampled.append(((rows @ better) * columns).sum(axis=1))
    low, high = np.quantile(np.mean(resampled, axis=0), [0.025, 0.975])
    return Improvement(float(np.mean(shares)), float(low), float(high))


def non_dominated(points: Sequence[Sequence[float]]) -> list[int]:
    """Returns the indices of the points on the Pareto front, in their order.

    A point dominates another that it equals or betters in every number, and betters in one.

    Args:
        points: of equally many numbers, of which larger ones are better.
    """
    return [
        index
        for index, point in enumerate(points)
        if not any(
            all(one >= own for one, own in zip(other, point, strict=True)) and other != point
            for other in points
        )
    ]


def _weights(size: int, rng: np.random.Generator) -> np.ndarray:
    """Returns the share of each of `size` runs in every resample: (resamples, runs)."""
    import numpy as np

    return rng.multinomial(size, np.full(size, 1 / size), BOOTSTRAP_RESAMPLES) / size


def share_interval(successes: int, n: int) -> tuple[float, float]:
    """Returns the 95 % interval of a share of `n` episodes (Wilson 1927).

    Unlike a bootstrap's it has a width where all episodes came out the same.
    """
    from scipy import stats

    interval = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)
