"""Groups of trials compared with each other."""

from __future__ import annotations

from types import SimpleNamespace as Fake

import pytest
from sweeps import write_sweep

from empo_rllib.results.report.comparison import compare_groups
from empo_rllib.results.report.parts import Charts, Paragraph, Table
from empo_rllib.results.report.play import PlayedTrials
from empo_rllib.results.report.runs import read_runs
from empo_rllib.results.report.sections.comparison import build_comparison

CHANCE = 0.5


def played(runs, score, optimum=2.5, without=()):
    """An evaluation of each trial, but of those `without` one, with the return that `score` has."""
    chance = Fake(episode_return=Fake(mean=CHANCE))
    evaluations = [
        Fake(
            trial=trial,
            result=Fake(
                episode_return=Fake(mean=score(trial.summary)),
                references=Fake(random_policy=chance, optimum=optimum),
            ),
        )
        for run in runs
        for trial in run.trials
        if trial.id not in without
    ]
    return PlayedTrials(20, 0, evaluations)


def by_training(summary):
    return summary.metric


def scores_of(group):
    return [[pytest.approx(score) for score in of_env] for of_env in group.scores]


def test_groups_of_one_environment_have_the_returns_of_their_seeds(sweep_run):
    compared = compare_groups([sweep_run], played([sweep_run], by_training))

    assert [(g.label, g.number) for g in compared.groups] == [("lr 0.001", 0), ("lr 0.01", 1)]
    assert compared.groups[0].scores == scores_of(Fake(scores=[[0.1, 0.11, 0.12]]))
    assert (compared.num_envs, compared.normalised, compared.left_out) == (1, False, [])


def test_the_table_shades_and_the_profile_say_which_is_better(sweep_run):
    section = build_comparison([sweep_run], played([sweep_run], by_training))

    (table,) = (part for part in section.parts if isinstance(part, Table))
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["lr 0.001", "–", "0.00 (0.00 to 0.00)"],
        ["lr 0.01", "1.00 (1.00 to 1.00)", "–"],
    ]
    assert [table.rows[0][2].level, table.rows[1][1].level] == [0, 9]
    (charts,) = (part for part in section.parts if isinstance(part, Charts))
    rows = charts.charts[0].views[0].table.rows
    assert [cell.value for cell in rows[0][1:]] == [1, 1]
    assert [cell.value for cell in rows[len(rows) // 2][1:]] == [0, 1]
    assert [cell.value for cell in rows[-1][1:]] == [0, 0]


def test_a_group_of_which_only_the_best_were_evaluated_is_left_out(sweep_run):
    found = played([sweep_run], by_training, without=("trial_00001",))

    section = build_comparison([sweep_run], found)

    assert compare_groups([sweep_run], found).left_out == ["lr 0.01"]
    assert "needs two settings with at least 2 seeds each" in section.parts[0].text


@pytest.fixture
def two_envs(tmp_path):
    folders = [
        write_sweep(tmp_path / name, env={"id": f"MultiGrid-Empty-{size}-v0", "num_agents": 2})
        for name, size in (("small", "5x5"), ("large", "6x6"))
    ]
    return read_runs(folders)


def test_settings_are_joined_over_environments_whose_returns_are_normalised(two_envs):
    compared = compare_groups(two_envs, played(two_envs, by_training))

    assert [group.label for group in compared.groups] == [
        "small: lr 0.001 + large: lr 0.001",
        "small: lr 0.01 + large: lr 0.01",
    ]
    assert (compared.num_envs, compared.normalised) == (2, True)
    of_one = [(value - CHANCE) / 2 for value in (1.0, 1.01, 1.02)]
    assert compared.groups[1].scores == scores_of(Fake(scores=[of_one, of_one]))


def test_without_an_optimum_environments_have_no_profile_but_probabilities(two_envs):
    section = build_comparison(two_envs, played(two_envs, by_training, optimum=None))

    assert [type(part) for part in section.parts] == [Paragraph, Table]
    assert "the optimum of an environment is unknown" in section.parts[0].text
    assert section.parts[1].rows[1][1].value == 1
