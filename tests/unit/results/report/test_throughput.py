"""Where the training time went."""

from __future__ import annotations

import pytest
from sweeps import row

from empo_rllib.results.report.runs import ReportedTrial
from empo_rllib.results.report.sections.throughput import build_throughput, times_of


@pytest.fixture
def times(sweep_run):
    """Returns a function from rows to the times of a trial with them."""

    def of(rows):
        trial = sweep_run.trials[0]
        return times_of(ReportedTrial(trial.folder, trial.summary, trial.config, rows))

    return of


def without(columns, rows):
    return [{k: v for k, v in one.items() if k not in columns} for one in rows]


def test_shares_of_sampling_learning_and_the_rest_add_up(times):
    one = times([row(1, 0.0), row(2, 0.0), row(3, 0.0, env_steps_per_s=80.0)])

    assert one.shares == pytest.approx((0.6, 0.3, 0.1))
    assert (one.total_s, one.first_s, one.median_rate) == (6.0, 2.0, 50.0)


def test_sampling_that_was_not_measured_is_not_told_as_nothing(times):
    shares = times(without(["time/sample_s"], [row(1, 0.0)])).shares

    assert shares[0] is None
    assert shares[1:] == pytest.approx((0.3, 0.7))


def test_without_timers_there_are_no_shares(times):
    assert times(without(["time/sample_s", "time/learn_s"], [row(1, 0.0)])).shares is None


def test_parts_that_overlap_fill_the_whole(times):
    assert times([row(1, 0.0, **{"time/sample_s": 3.0, "time/learn_s": 3.0})]).shares == (
        pytest.approx((0.5, 0.5, 0.0))
    )


def test_the_table_has_the_rate_of_summary_json(sweep_run):
    section = build_throughput([sweep_run])

    table = section.parts[2].charts[0].views[0].table
    assert [cell.text for cell in table.rows[0]] == [
        "trial_00000",
        "50",
        "50",
        "8.0 s",
        "2.0 s",
        "60%",
        "30%",
        "10%",
    ]


def test_rates_and_times_are_drawn_and_the_hardware_is_told(sweep_run):
    *_, charts, hardware = build_throughput([sweep_run]).parts

    assert [chart.title for chart in charts.charts] == [
        "env steps a second",
        "seconds of sampling in a training iteration",
        "seconds of learning in a training iteration",
    ]
    row = dict(zip(hardware.columns, [cell.text for cell in hardware.rows[0]], strict=True))
    assert (row["host"], row["nodes"], row["CPUs"], row["GPUs"]) == ("box", "1", "2", "–")
    assert row["trials' time"] == "48.0 s"
