from __future__ import annotations

import numpy as np
import pytest

from empo_rllib import statistics
from empo_rllib.statistics import estimate

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
