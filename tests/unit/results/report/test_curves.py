"""Means over seeds and their intervals are those that anyone would compute."""

from __future__ import annotations

import re
from types import SimpleNamespace as Fake

import numpy as np
import pytest
from sweeps import edit_summary, row, write_rows, write_sweep

from empo_rllib.results.report.curves import MAX_POINTS, build_series, interval_of_mean, read_curve
from empo_rllib.results.report.groups import MAX_DRAWN, drawn_groups, group_trials
from empo_rllib.results.report.parts import Charts, Paragraph
from empo_rllib.results.report.play import PlayedTrials
from empo_rllib.results.report.runs import ReportedTrial, read_runs
from empo_rllib.results.report.sections.learning_curves import build_curves
from empo_rllib.statistics import estimate

RETURN = "episode_return_mean"


def groups_of(folder):
    return group_trials(read_runs([folder]))


def rewrite(folder, number, rows):
    """Replaces a trial's rows, and what the summary says of its end."""
    write_rows(folder / f"trial_{number:05d}", rows)
    steps = rows[-1]["env_steps"]
    edit_summary(folder, lambda content: content["trials"][number].update(env_steps=steps))


def test_seeds_of_the_same_settings_are_one_series(sweep):
    series = build_series(groups_of(sweep), RETURN, "env_steps")

    assert [(one.label, one.number, len(one.curves)) for one in series] == [
        ("lr 0.001", 0, 3),
        ("lr 0.01", 1, 3),
    ]
    np.testing.assert_allclose(series[0].xs, [100, 200, 300, 400])
    np.testing.assert_allclose(series[0].mean, np.array([1, 2, 3, 4]) / 4 * 0.11)


@pytest.mark.parametrize(("axis", "end"), [("env_steps", 400), ("time_s", 8)])
def test_curves_lie_against_env_steps_or_seconds(sweep, axis, end):
    assert build_series(groups_of(sweep), RETURN, axis)[0].xs[-1] == end


def test_the_interval_is_the_bootstrap_of_summary_json():
    ends = np.random.default_rng(1).normal(size=8)

    low, high = interval_of_mean(np.stack([ends, 2 * ends], axis=1))

    expected = estimate(ends.tolist())
    assert low[0] == pytest.approx(expected.low, abs=0.05)
    assert high[0] == pytest.approx(expected.high, abs=0.05)
    assert low[1] == pytest.approx(2 * low[0])


def test_the_interval_of_two_seeds_spans_them():
    low, high = interval_of_mean(np.array([[1.0, np.nan], [3.0, 4.0]]))

    assert (low[0], high[0]) == (1.0, 3.0)
    assert np.isnan([low[1], high[1]]).all()


def test_one_seed_has_no_interval(tmp_path):
    folder = write_sweep(tmp_path / "run", seeds=(0,))

    series = build_series(groups_of(folder), RETURN, "env_steps")[0]

    assert np.isnan(series.low).all()
    assert np.isnan(series.high).all()
    assert np.isfinite(series.mean).all()


def test_a_seed_that_has_ended_counts_with_its_last_value(tmp_path):
    folder = write_sweep(tmp_path / "run", lrs=(0.01,), seeds=(0, 1))
    rewrite(folder, 0, [row(1, 10.0), row(2, 20.0)])
    rewrite(folder, 1, [row(2, 40.0), row(4, 60.0)])

    (series,) = build_series(groups_of(folder), RETURN, "env_steps")

    assert series.xs.tolist() == [100, 200, 400]
    np.testing.assert_allclose(series.mean, [np.nan, 30.0, 40.0])


def test_rows_without_a_finite_value_are_left_out(sweep_run):
    rows = [row(1, float("nan")), row(2, float("inf")), row(3, 3.0), {"env_steps": 4, "time_s": 8}]
    trial = ReportedTrial(sweep_run.folder, sweep_run.trials[0].summary, sweep_run.config, rows)

    curve = read_curve(trial, RETURN, "env_steps")

    assert (curve.xs.tolist(), curve.ys.tolist()) == ([300.0], [3.0])


def test_a_column_that_nobody_has_gives_no_series(sweep):
    assert build_series(groups_of(sweep), "success_rate", "env_steps") == []


def test_long_curves_are_told_at_few_places(tmp_path):
    folder = write_sweep(tmp_path / "run", num_rows=500)

    series = build_series(groups_of(folder), RETURN, "env_steps")[0]

    assert len(series.xs) == MAX_POINTS
    np.testing.assert_allclose(series.mean, series.xs / 50_000 * 0.11)


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_best_groups_are_drawn_where_there_are_too_many(tmp_path, mode):
    lrs = [0.001 * i for i in range(1, MAX_DRAWN + 3)]
    folder = write_sweep(tmp_path / "run", lrs=lrs, seeds=(0,))
    edit_summary(folder, lambda content: content.update(mode=mode))

    drawn = drawn_groups(groups_of(folder))

    shown = [group.trials[0].summary.params["algorithm.params.lr"] for group in drawn]
    assert shown == (lrs[2:] if mode == "max" else lrs[:-2])


def charts_by_title(folder):
    parts = build_curves(read_runs([folder]), PlayedTrials(0, 0)).parts
    return {c.title: c for part in parts if isinstance(part, Charts) for c in part.charts}


def test_what_learners_and_evaluations_measured_is_drawn(tmp_path):
    folder = write_sweep(tmp_path / "run", lrs=(0.01,), seeds=(0,))
    entropies = [1.9, 1.5, 0.4]
    rows = [
        row(i + 1, 10.0 * i, **{"learner/agent_0/entropy": entropy, "learner/agent_0/kl": 0.01})
        for i, entropy in enumerate(entropies)
    ]
    rows[1] |= {"evaluation/episode_return_mean": 0.75}
    rewrite(folder, 0, rows)

    charts = charts_by_title(folder)

    assert list(charts) == [
        "return (sum over agents)",
        "return in evaluations",
        "return of policy agent_0",
        "return of policy agent_1",
        "entropy of policy agent_0",
        "KL divergence of policy agent_0",
    ]
    by_env_steps, by_seconds = charts["entropy of policy agent_0"].views
    for view, xs in ((by_env_steps, ["100", "200", "300"]), (by_seconds, ["2", "4", "6"])):
        assert [line[0].text.partition(".")[0] for line in view.table.rows] == xs
        assert [float(line[1].text) for line in view.table.rows] == entropies
    (evaluation,) = charts["return in evaluations"].views[0].table.rows
    assert [float(cell.text) for cell in evaluation] == [200, 0.75]


def evaluated(trial, number):
    random_policy = Fake(episode_return=Fake(mean=-0.5), success_rate=0.1)
    return Fake(
        trial=trial,
        result=Fake(
            protocol=Fake(env={"id": "MultiGrid-Empty-5x5-v0"}),
            references=Fake(random_policy=random_policy, optimum=1.9),
            episode_return=Fake(mean=float(number), interval_95=(number - 0.5, number + 0.5)),
            success_rate=None,
        ),
    )


@pytest.mark.parametrize(
    ("seeds", "dot"), [((0,), "0.000 (-0.500 to 0.500)"), ((0, 1), "0.500 (0.000 to 1.000)")]
)
def test_curves_end_in_evaluations_between_the_random_policy_and_the_optimum(tmp_path, seeds, dot):
    run = read_runs([write_sweep(tmp_path / "run", lrs=(0.01,), seeds=seeds)])[0]
    played = PlayedTrials(20, 0, [evaluated(trial, n) for n, trial in enumerate(run.trials)])

    parts = build_curves([run], played).parts

    (charts,) = (part for part in parts if isinstance(part, Charts))
    for view in charts.charts[0].views:
        assert f"<title>lr 0.01, evaluated: {dot}</title>" in view.svg
        assert "random policy: -0.500. optimum: 1.900." in view.svg
    assert "evaluated" not in charts.charts[1].views[0].svg  # of a policy
    assert "A dot at the end of a curve" in parts[0].text


def test_evaluations_in_training_are_dots_with_intervals_over_seeds(tmp_path):
    folder = write_sweep(tmp_path / "run", lrs=(0.01,), seeds=(0, 1))
    for number in (0, 1):
        rows = [row(i, 1.0) for i in (1, 2, 3)]
        rows[1] |= {"evaluation/episode_return_mean": float(number)}
        rewrite(folder, number, rows)

    (view, _) = charts_by_title(folder)["return in evaluations"].views

    assert re.findall("<title>(.*?)</title>", view.svg)[1:] == ["lr 0.01: 0.500 (0.000 to 1.000)"]


def test_the_learners_of_many_policies_are_not_all_drawn(tmp_path):
    folder = write_sweep(
        tmp_path / "run",
        lrs=(0.01,),
        seeds=(0,),
        env={"id": "MultiGrid-Empty-5x5-v0", "num_agents": 6},
    )
    names = ("policy_return_mean/agent_{}", "learner/agent_{}/entropy")
    numbers = {name.format(i): 1.0 for name in names for i in range(6)}
    rewrite(folder, 0, [row(i, 1.0, **numbers) for i in (1, 2)])
    drawn = [title for title in charts_by_title(folder) if title.startswith("entropy")]
    assert drawn == [f"entropy of policy agent_{i}" for i in range(4)]


def test_metrics_of_the_users_are_drawn(tmp_path):
    folder = write_sweep(tmp_path / "run", lrs=(0.01,), seeds=(0,))
    rows = [row(i, 1.0, **{f"custom/m{j}": float(i + j) for j in range(12)}) for i in (1, 2)]
    rows[1] |= {"evaluation/custom/m0": 5.0}
    rewrite(folder, 0, rows)

    titles = [title for title in charts_by_title(folder) if title.startswith("m")]

    assert titles == [f"m{j}" for j in range(12)]
    (chart,) = (c for title, c in charts_by_title(folder).items() if title == "m3")
    assert [float(line[1].text) for line in chart.views[0].table.rows] == [4.0, 5.0]
    texts = [
        part.text
        for part in build_curves(read_runs([folder]), PlayedTrials(0, 0)).parts
        if isinstance(part, Paragraph)
    ]
    assert any(text.endswith("Drawn are the first 12 of 13.") for text in texts)
