"""Episodes that do not end are cut at a limit, and every result says so."""

from __future__ import annotations

import json
import logging

import pytest

import empo_rllib
from empo_rllib.acting import play, stage
from empo_rllib.envs import step_limit
from empo_rllib.envs.registry import make_env
from empo_rllib.results.captions import Layout
from empo_rllib.results.crossplay import crossplay
from empo_rllib.results.record import record
from empo_rllib.results.report.write import write_report

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts

LIMIT = 40


@pytest.fixture(scope="module")
def runs(write_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: write_run(folder / name, env={"id": f"odd_envs:{name}"})
        for name in ("Endless", "SometimesEndless", "Room")
    }


@pytest.fixture(autouse=True)
def low_limit(monkeypatch):
    monkeypatch.setattr(stage, "cut_limit", lambda env: LIMIT)
    monkeypatch.setattr(step_limit, "FILM_LIMIT", LIMIT)
    play.warn_of_endless_episodes.cache_clear()


def test_a_limit_of_the_environment_counts_where_it_is_higher_than_the_default():
    env = make_env("odd_envs:Endless")
    assert step_limit.cut_limit(env) == step_limit.EPISODE_LIMIT
    env.max_steps = 50
    assert step_limit.cut_limit(env) == step_limit.EPISODE_LIMIT
    env.max_steps = 30_000
    assert step_limit.cut_limit(env) == 30_000


def test_evaluate_counts_the_episodes_that_it_cut(runs):
    result = empo_rllib.evaluate(runs["SometimesEndless"], episodes=4)

    assert [episode["cut"] for episode in result.episodes] == [False, True, False, True]
    assert [episode["episode_length"] for episode in result.episodes] == [5, LIMIT, 5, LIMIT]
    assert result.episodes[1]["episode_return"] == 2 * LIMIT
    found = json.loads(result.to_json())
    assert found["episodes_cut"] == 2
    assert found["protocol"]["episode_limit"] == LIMIT
    assert found["references"]["random_policy"]["episodes_cut"] == 2


def test_the_command_tells_of_cut_episodes_while_and_after_it_plays(runs, command, caplog):
    with caplog.at_level(logging.WARNING):
        code, out, _ = command("evaluate", runs["Endless"], "--episodes", "3")
    assert code == 0
    assert f"6 of 6 episodes did not end and were cut after {LIMIT} env steps." in " ".join(
        out.split()
    )
    assert [record.getMessage() for record in caplog.records] == [
        f"No episode has ended after 8 env steps. They are cut after {LIMIT}."
    ]


def test_episodes_that_end_are_not_mentioned(runs, command, caplog):
    code, out, _ = command("evaluate", runs["Room"], "--episodes", "3")
    assert (code, caplog.records) == (0, [])
    assert "did not end" not in out


def test_crossplay_counts_the_episodes_that_it_cut(runs, command):
    result = crossplay([runs["Endless"], runs["Endless"]], episodes=2)
    assert result.episodes_cut == result.episodes_played > 0
    assert result.to_dict()["protocol"]["episode_limit"] == LIMIT

    _, out, _ = command("crossplay", runs["Endless"], runs["Endless"], "--episodes", "2")
    assert "did not end and were cut" in " ".join(out.split())


def test_a_film_ends_at_the_limit_and_says_so(runs, tmp_path, monkeypatch, caplog):
    captions = []
    draw = Layout.draw
    monkeypatch.setattr(
        Layout, "draw", lambda self, picture, c: captions.append(c) or draw(self, picture, c)
    )
    num_frames = record(runs["Endless"], tmp_path / "film.gif", episodes=1)
    assert num_frames == LIMIT + 1
    assert captions[-1].outcome == "cut"
    assert "Episode 1 of 1 (seed 0) did not end and was cut after 40 env steps." in caplog.text


def test_a_report_shows_cut_episodes_and_says_so(runs, tmp_path):
    out = tmp_path / "report.html"
    write_report([runs["SometimesEndless"]], out, 2, 0)
    text = " ".join(out.read_text().split())
    assert f"episodes did not end and were cut after {LIMIT} env steps." in text
    assert f"{LIMIT} steps, cut there" in text
