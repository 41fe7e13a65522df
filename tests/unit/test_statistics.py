from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from empo_rllib import statistics
from empo_rllib.statistics import (
    estimate,
    non_dominated,
    performance_profile,
    probability_of_improvement,
)

RETURNS = np.random.default_rng(3).gamma(2.0, 1.5, size=90)


def test_mean_and_interquartile_mean_are_those_of_numpy():
    result = estimate(RETURNS)

    middle = sorted(RETURNS)[22:68]  # 90 // 4 dropped at each end
    assert result.n == 90
    assert result.mean == pytest.approx(np.mean(RETURNS))
    assert result.interquartile_mean == pytest.approx(np.mean(middle))


def test_interquartile_mean_ignores_outliers():
    assert estimate([1.0, 1.0, 1.0, 1000.0]).interquartile_mean == 1.0


def test_interval_is_the_percentile_bootstrap_of_the_mean():
    result = estimate(RETURNS)

    rng = np.random.default_rng(99)
    means = [np.mean(RETURNS[rng.integers(0, 90, 90)]) for _ in range(20_000)]
    expected = np.quantile(means, [0.025, 0.975])
    assert result.interval_95 == pytest.approx(expected, abs=0.05)


def test_interval_holds_the_true_mean_about_95_times_in_100(monkeypatch):
    monkeypatch.setattr(statistics, "BOOTSTRAP_RESAMPLES", 300)
    rng = np.random.default_rng(0)
    results = [estimate(rng.normal(5.0, 2.0, size=60)) for _ in range(200)]

    held = np.mean([r.low <= 5.0 <= r.high for r in results])

    assert 0.88 <= held <= 0.99


def test_resampling_in_parts_gives_as_many_resamples(monkeypatch):
    whole = estimate(RETURNS)
    monkeypatch.setattr(statistics, "_DRAWN_AT_ONCE", 1000)

    assert estimate(RETURNS).interval_95 == pytest.approx(whole.interval_95, abs=0.05)


def test_same_values_give_the_same_interval_in_any_order():
    assert estimate(RETURNS) == estimate(RETURNS[::-1])


def test_equal_values_have_an_interval_of_no_width():
    assert estimate([2.0] * 10).interval_95 == (2.0, 2.0)


def test_one_value_has_no_interval():
    result = estimate([0.5])

    assert (result.mean, result.interquartile_mean, result.interval_95) == (0.5, 0.5, None)


def test_no_value_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        estimate([])


OURS, THEIRS = [0.2, 0.9, 0.7, 0.7], [0.1, 0.7, 0.3]


def test_a_profile_has_the_share_of_scores_above_each_threshold():
    thresholds = np.array([-1.0, 0.1, 0.5, 0.7, 2.0])

    profile = performance_profile([OURS, THEIRS], thresholds)

    shares = [[np.mean([x > t for x in scores]) for t in thresholds] for scores in (OURS, THEIRS)]
    np.testing.assert_allclose(profile.shares, np.mean(shares, axis=0))
    assert (profile.low <= profile.shares).all()
    assert (profile.shares <= profile.high).all()


def test_the_interval_of_a_profile_is_that_of_all_resamples_within_strata():
    strata, threshold = ([0.1, 0.6, 0.9], [0.2, 0.8]), 0.5

    profile = performance_profile(strata, np.array([threshold]))

    shares = [
        [np.mean([x > threshold for x in drawn]) for drawn in itertools.product(s, repeat=len(s))]
        for s in strata
    ]
    means = [np.mean(pair) for pair in itertools.product(*shares)]
    assert [profile.low[0], profile.high[0]] == pytest.approx(np.quantile(means, [0.025, 0.975]))


def test_the_probability_of_improvement_is_the_mean_over_strata_of_mann_whitneys_u():
    found = probability_of_improvement([OURS, [1.0, 2.0]], [THEIRS, [2.0, 3.0]])

    shares = [
        stats.mannwhitneyu(one, other).statistic / (len(one) * len(other))
        for one, other in ((OURS, THEIRS), ([1.0, 2.0], [2.0, 3.0]))
    ]
    assert found.probability == pytest.approx(np.mean(shares))
    assert found.low <= found.probability <= found.high


def test_the_interval_of_an_improvement_is_scipys_bootstrap_of_two_samples():
    def share(ours, theirs):
        return np.mean([0.5 + 0.5 * np.sign(a - b) for a in ours for b in theirs])

    ours, theirs = RETURNS[:9], [value + 0.3 for value in RETURNS[9:16]]
    found = probability_of_improvement([ours], [theirs])

    expected = stats.bootstrap(
        (ours, theirs), share, vectorized=False, method="percentile", n_resamples=2000, rng=1
    ).confidence_interval
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high], abs=0.04)


def test_a_comparison_does_not_depend_on_the_order_of_the_runs():
    assert probability_of_improvement([OURS], [THEIRS]) == probability_of_improvement(
        [OURS[::-1]], [THEIRS[::-1]]
    )


def test_nobody_on_the_pareto_front_is_dominated_and_all_others_are() -> None:
    rng = np.random.default_rng(0)
    points = [tuple(point) for point in rng.integers(0, 5, size=(60, 3)).tolist()]
    front = non_dominated(points)
    for index, point in enumerate(points):
        better = [
            other
            for other in points
            if all(np.array(other) >= point) and any(np.array(other) > point)
        ]
        assert (index in front) == (not better)
    assert non_dominated([]) == []
    assert non_dominated([(1.0, 2.0), (1.0, 2.0)]) == [0, 1]
