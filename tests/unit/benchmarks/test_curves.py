"""Curves over seeds, their intervals, and when two sets of them count as the same."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks.curves import (
    checkpoints,
    compare,
    curve,
    difference_interval,
    mean_interval,
    steps_to,
)
from benchmarks.figure import Panel, draw_curves, ticks


def rows(returns: list[float | None]) -> list[dict[str, float | None]]:
    return [
        {"env_steps": 1000 * (i + 1), "episode_return_mean": value, "time_s": float(i)}
        for i, value in enumerate(returns)
    ]


def seeds(shift: float, seed: int) -> list[list[dict[str, float | None]]]:
    rng = np.random.default_rng(seed)
    return [rows((np.linspace(0, 1, 10) + shift + rng.normal(0, 0.05)).tolist()) for _ in range(5)]


def test_a_curve_is_linear_between_iterations_and_starts_with_the_first_known_return():
    points = curve(rows([None, 1.0, 3.0]), np.array([500.0, 2500.0, 3000.0]))
    assert points.tolist() == [1.0, 2.0, 3.0]


def test_checkpoints_end_with_the_last_env_step():
    assert checkpoints(1000, 4).tolist() == [250, 500, 750, 1000]


def test_the_interval_of_a_mean_is_students():
    values = np.array([1.0, 2.0, 4.0, 8.0])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = mean_interval(values[:, None])
    assert (found.low[0], found.high[0]) == pytest.approx((expected.low, expected.high))


def test_equal_learners_are_the_same_and_a_slower_one_is_not():
    assert compare(seeds(0, 0), seeds(0, 1), 10_000).same_area
    worse = compare(seeds(0, 0), seeds(-0.2, 1), 10_000)
    assert not worse.same_area
    assert worse.area.mean == pytest.approx(0.2, abs=0.05)
    assert worse.same_checkpoints == 0


def test_without_any_spread_the_difference_itself_decides():
    same, other = np.ones((5, 1)), np.full((5, 1), 2.0)
    assert difference_interval(same, same).low == 0
    assert difference_interval(other, same).low == 1


def test_the_first_iteration_at_the_return_counts():
    reached = steps_to(rows([None, 0.5, 0.95, 0.9, 1.0]), 0.95)
    assert reached is not None
    assert reached["env_steps"] == 3000
    assert steps_to(rows([0.5]), 0.95) is None


@pytest.mark.parametrize(
    ("ends", "expected"),
    [((0.0, 1.0), [0, 0.2, 0.4, 0.6, 0.8, 1.0]), ((-0.1, 2.1), [0, 0.5, 1, 1.5, 2])],
)
def test_ticks_are_round(ends, expected):
    assert ticks(*ends) == pytest.approx(expected)


def test_the_figure_is_small(tmp_path):
    x = checkpoints(100_000, 100)
    line = mean_interval(np.random.default_rng(0).normal(size=(5, 100)).cumsum(1))
    draw_curves([Panel("one", x, {"a": line}), Panel("two", x, {"a": line})], tmp_path / "a.png")
    assert 0 < (tmp_path / "a.png").stat().st_size < 200_000
