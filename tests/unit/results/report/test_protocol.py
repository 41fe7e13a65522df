"""The report and `evaluate` give the same numbers for the same run."""

from __future__ import annotations

import inspect

import pytest
from scipy import stats
from whole_runs import LR, write_trials

from empo_rllib.commands import results as commands
from empo_rllib.results.crossplay import crossplay
from empo_rllib.results.evaluate import evaluate, evaluate_runs
from empo_rllib.results.report.play import play
from empo_rllib.results.report.runs import read_runs
from empo_rllib.results.report.sections.episodes import build_episodes
from empo_rllib.results.report.sections.evaluation import build_evaluation
from empo_rllib.results.report.write import write_report

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts

EPISODES, SEED = 40, 5


@pytest.fixture(scope="module")
def folder(write_run, tmp_path_factory):
    """Two learning rates with two seeds each; `trial_00001` is the best."""
    env = {"id": "MultiGrid-Empty-5x5-v0", "num_agents": 2, "kwargs": {"max_steps": 40}}
    runs = tmp_path_factory.mktemp("runs")
    settings = [(0.001, 0), (0.01, 0), (0.001, 1), (0.01, 1)]
    return write_trials(write_run(runs / "one", env=env), runs / "sweep", settings)


@pytest.fixture(scope="module")
def runs(folder):
    return read_runs([folder])


@pytest.fixture(scope="module")
def played(runs):
    return play(runs, EPISODES, SEED, lambda text: None)


@pytest.fixture(scope="module")
def told(folder):
    return evaluate(folder, EPISODES, SEED)


def rows_of(table):
    """The cells of each row by the names of their columns."""
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def percent(ends):
    return f"{ends[0]:.0%} to {ends[1]:.0%}"


def test_all_commands_play_as_many_episodes_from_the_same_seed():
    functions = (evaluate, evaluate_runs, crossplay, write_report)
    typed = (commands.evaluate, commands.crossplay, commands.report)

    for function in (*functions, *typed):
        parameters = inspect.signature(function).parameters
        assert (parameters["episodes"].default, parameters["seed"].default) == (100, 0), function


def test_every_number_of_a_trial_is_the_one_that_evaluate_tells(runs, played, told):
    found = rows_of(build_evaluation(runs, played).parts[1])
    rows = {row["trial"].text.removesuffix(", best"): row for row in found[:5] if _is_usual(row)}

    assert [row["trial"].text for row in found if "best" in row["trial"].text] == [
        "trial_00001, best",
        "trial_00001, best",
    ]
    assert told.best_trial == "trial_00001"
    assert len(rows) == len(told.trials) == 4
    for trial in told.trials:
        row, returns = rows[trial.source.trial], trial.episode_return
        assert row["return"].value == returns.mean
        assert row["95 % interval"].text == f"{returns.low:.3f} to {returns.high:.3f}"
        assert row["interquartile mean"].value == returns.interquartile_mean
        assert row["success rate"].value == trial.success_rate
        assert row["success interval"].text == percent(trial.success_interval_95)
        assert row["episode length"].value == trial.episode_length.mean


def _is_usual(row):
    return row["actions"].text == "sampled"


def test_references_and_groups_are_those_of_evaluate_too(runs, played, told):
    _, trials, groups, *_ = build_evaluation(runs, played).parts
    chance, optimum = rows_of(trials)[-2:]
    references = told.trials[0].references

    assert chance["return"].value == references.random_policy.episode_return.mean
    assert chance["success rate"].value == references.random_policy.success_rate
    interval = references.random_policy.success_interval_95
    assert chance["success interval"].text == percent(interval)
    assert optimum["return"].value == references.optimum
    by_settings = {f"lr {group.params[LR]}": group for group in told.groups}
    assert len(groups.rows) == len(by_settings) == 2
    for row in rows_of(groups):
        group = by_settings[row["settings"].text]
        assert row["mean"].value == group.episode_return.mean
        assert row["interquartile mean"].value == group.episode_return.interquartile_mean
        ends = group.episode_return.interquartile_mean_interval_95
        assert row["95 % interval"].text == f"{ends[0]:.3f} to {ends[1]:.3f}"
        assert row["success rate"].value == group.success_rate.mean
        ends = group.success_rate.interquartile_mean_interval_95
        assert row["success interval"].text == percent(ends)


def test_success_intervals_are_wilsons(played, told):
    random_policy = told.trials[0].references.random_policy
    assert random_policy.to_dict()["success_interval_95"] == random_policy.success_interval_95
    for result in (random_policy, *(one.result for one in played.evaluations)):
        successes = round(result.success_rate * EPISODES)
        expected = stats.binomtest(successes, EPISODES).proportion_ci(0.95, method="wilson")
        assert result.success_interval_95 == pytest.approx((expected.low, expected.high))


def test_films_and_visits_are_of_the_evaluated_episodes(runs, played, told):
    """Also where more are under way at a time than a Python environment has copies."""
    (watched,) = played.watched
    best = next(one for one in told.trials if one.source.trial == told.best_trial)

    assert [e.seed for e in watched.episodes] == [e["seed"] for e in best.episodes]
    assert [e.length for e in watched.episodes] == [e["episode_length"] for e in best.episodes]
    table = build_episodes(runs, played, lambda text: None).parts[-1]
    assert [row["return"].value for row in rows_of(table)] == [
        e["episode_return"] for e in best.episodes
    ]


def test_a_mean_over_few_episodes_is_not_the_best(runs):
    """As in `summary.json`, where `best_trial` has a full window if any trial has one."""
    (run,) = runs
    trials = list(run.trials)
    best = trials[1].summary
    try:
        best.is_settled = False
        assert [trial.id for trial in run.ranked()][-1] == "trial_00001"
    finally:
        best.is_settled = True
    assert run.ranked()[0].id == "trial_00001"
