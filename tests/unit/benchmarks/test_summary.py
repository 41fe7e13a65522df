"""Medians, ratios within a repeat, bars and tables."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.measure import Task
from benchmarks.scenarios import Bar, Scenario
from benchmarks.summary import Table, bar_values, bars_table, figures, setups_table, verdict


def measurement(setup: str, repeat: int, seconds: list[float], **extra: Any) -> dict[str, Any]:
    rows = [
        {
            "new_env_steps": 4000,
            "new_agent_steps": 8000,
            "seconds": s,
            "cpu_s": s / 2,
            "sample_s": s / 4,
        }
        | extra
        for s in seconds
    ]
    memory = {"memory_mb": 800.0, "process_memory_mb": 500.0}
    return {"setup": setup, "repeat": repeat, "rows": rows, **memory}


RATIO = Bar("ours against stock", ("ours", "env_steps_per_s"), ("stock", "env_steps_per_s"), 5)
TASKS = {"ours": Task(experiment={}), "stock": Task(experiment={})}
SCENARIO = Scenario("a test", TASKS, (RATIO,), window=(2, 4))


def test_the_iteration_that_compiles_and_those_beyond_the_window_do_not_count():
    found = figures(measurement("ours", 0, [100.0, 1.0, 2.0, 4.0, 100.0]), (2, 4))
    assert found["env_steps_per_s"] == 2000
    assert found["agent_steps_per_s"] == 4000
    assert found["env_steps_per_cpu_s"] == 4000
    assert found["sample_s"] == 0.5


def test_iterations_after_the_stop_make_the_converged_rate():
    measured = measurement("ours", 0, [9.0, 4.0, 4.0, 4.0])
    measured["rows"].append({**measured["rows"][0], "seconds": 1.0, "after_stop": True})
    found = figures(measured, (2, 4))
    assert found["env_steps_per_s"] == 1000
    assert found["converged_env_steps_per_s"] == 4000


def test_what_was_not_measured_is_no_figure():
    assert "learn_s" not in figures(measurement("ours", 0, [1.0, 1.0]), (2, 4))


def test_ratios_are_taken_within_a_repeat():
    repeats = [
        {"ours": {"env_steps_per_s": 10.0}, "stock": {"env_steps_per_s": 1.0}},
        {"ours": {"env_steps_per_s": 4.0}, "stock": {"env_steps_per_s": 2.0}},
    ]
    assert bar_values(RATIO, repeats) == [10.0, 2.0]


def test_a_repeat_that_was_cut_short_gives_no_ratio():
    assert bar_values(RATIO, [{"ours": {"env_steps_per_s": 10.0}}]) == []


@pytest.mark.parametrize(
    ("value", "expected"), [(4.9, "no"), (5.0, "yes"), (7.9, "yes"), (8.0, "yes, and the aim")]
)
def test_a_bar_from_below_and_its_aim(value, expected):
    assert verdict(Bar("", ("a", "b"), at_least=5, aim=8), value) == expected


@pytest.mark.parametrize(("value", "expected"), [(1.0, "yes"), (1.01, "no")])
def test_a_bar_from_above(value, expected):
    assert verdict(Bar("", ("a", "b"), at_most=1), value) == expected


def test_tables_show_medians_over_the_repeats_and_what_is_asked_beside_what_was_measured():
    measurements = [
        measurement(setup, repeat, [60.0, seconds])
        for repeat, pair in enumerate([(1.0, 10.0), (1.0, 20.0), (4.0, 12.0)])
        for setup, seconds in zip(("ours", "stock"), pair, strict=True)
    ]
    assert setups_table(SCENARIO, measurements).rows == (
        ("ours", "4,000", "8,000", "0.250", "0.500", "800", "500"),
        ("stock", "333", "667", "3.000", "6.000", "800", "500"),
    )
    assert bars_table(SCENARIO, measurements).rows == (
        ("ours against stock", "≥ 5x", "10.00x", "3.00 – 20.00", "yes", "10.00x"),
    )


def test_a_table_in_markdown():
    table = Table(("what", "n"), (("a", "1"),))
    assert table.to_markdown() == "| what | n |\n| --- | ---: |\n| a | 1 |"
