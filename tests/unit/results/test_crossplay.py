"""Who plays with whom, and what the matrix says."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from functools import partial
from xml.dom import minidom

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import empo_rllib
from empo_rllib.acting.episodes import FinishedEpisode
from empo_rllib.acting.stage import Stage
from empo_rllib.acting.teams import ActingPolicies
from empo_rllib.envs.registry import make_env
from empo_rllib.errors import ConfigError
from empo_rllib.results.crossplay import (
    CrossplayResult,
    Player,
    PlayerGroup,
    _Pairs,
    _returns,
    crossplay,
)
from empo_rllib.results.crossplay_table import render_crossplay
from empo_rllib.results.heat_map import colour_of, draw_crossplay
from empo_rllib.statistics import estimate

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts

KEYS = {
    "format",
    "env",
    "protocol",
    "players",
    "returns",
    "intervals_95",
    "success_rates",
    "self_play",
    "drop",
    "random_partner",
    "random_partner_drop",
}

TURNS = [(["agent_0"], ["agent_1"]), (["agent_1"], ["agent_0"])]
PLAYED = ((0, 1.0), (1, 0.0), (0, 3.0), (1, 2.0))


class Fixed:
    """Always does the same."""

    recurrent = False

    def __init__(self, action):
        self.action = action

    def act(self, observations, greedy, memories=()):
        return [self.action for _ in observations]

    def choose(self, observations, greedy):
        return np.full(len(observations["direction"]), self.action)


def team(actions, shared=False):
    """A team whose agents do the given actions."""
    names = {f"agent_{i}": "all" if shared else f"agent_{i}" for i in range(len(actions))}
    policies = {name: Fixed(a) for name, a in zip(names.values(), actions, strict=True)}
    return ActingPolicies(policies, names, {})


def result_of(matrix, first=None, second=None, averaged=False, names=None):
    estimates = [[estimate([value, value]) for value in row] for row in matrix]
    num_players = len(matrix)
    names = names or [f"seed-{i}" for i in range(num_players)]
    return CrossplayResult(
        env={"id": "MultiGrid-Empty-5x5-v0", "num_agents": 2, "kwargs": {}},
        protocol={"episodes": 2, "seed": 0, "greedy": True, "settings": []},
        players=[Player(name, f"/runs/{name}", "trial_00000", "checkpoint") for name in names],
        sides=TURNS if averaged else TURNS[:1],
        returns=estimates,
        returns_by_sides=[matrix],
        success_rates=[[None] * num_players] * num_players,
        random_first=[estimate([v, v]) for v in first or [0.0] * num_players],
        random_second=[estimate([v, v]) for v in second or [0.0] * num_players],
    )


@pytest.fixture
def pairs():
    """Makes the pairs of two teams in a room where who walks forward twice, or turns, is seen."""
    opened = []

    def make(*teams, num_agents=2):
        stage = Stage(partial(make_env, "MultiGrid-Empty-5x5-v0", num_agents), 3)
        opened.append(stage)
        return _Pairs(stage, teams, range(3), greedy=True)

    yield make
    for stage in opened:
        stage.close()


def did(pairs, sides):
    joined = pairs._join(0, 1, sides)
    return {agent: joined.by_name[name].action for agent, name in joined.of_agent.items()}


def test_of_two_policies_the_row_acts_for_the_first_and_the_column_for_the_other(pairs):
    found = pairs(team([0, 1]), team([3, 4]))

    assert found.sides == TURNS[:1]
    assert did(found, found.sides[0]) == {"agent_0": 0, "agent_1": 4}
    assert len(found.play(0, 1)) == 3


def test_each_of_several_policies_meets_the_others_partners_in_turn(pairs):
    found = pairs(team([2, 0, 0]), team([2, 1, 1]), num_agents=3)

    assert [first for first, _ in found.sides] == [["agent_0"], ["agent_1"], ["agent_2"]]
    assert did(found, found.sides[1]) == {"agent_0": 2, "agent_1": 0, "agent_2": 1}
    assert len(found.play(0, 1)) == 9
    assert len(found.play(0, 0)) == 3
    numbers = found.play_all()
    assert np.shape(numbers["returns_by_sides"]) == (3, 2, 2)
    means = [[cell.mean for cell in row] for row in numbers["returns"]]
    assert np.mean(numbers["returns_by_sides"], axis=0) == pytest.approx(np.array(means))


def test_a_policy_of_several_agents_is_a_side(pairs):
    names = {"agent_0": "a", "agent_1": "b", "agent_2": "a"}
    teams = [ActingPolicies({"a": Fixed(0), "b": Fixed(1)}, names, {}) for _ in range(2)]

    found = pairs(*teams, num_agents=3)

    assert found.sides == [(["agent_0", "agent_2"], ["agent_1"])]


def test_one_policy_for_all_takes_part_in_any_division(pairs):
    names = {"agent_0": "a", "agent_1": "b", "agent_2": "b"}
    divided = ActingPolicies({"a": Fixed(0), "b": Fixed(1)}, names, {})

    found = pairs(team([2, 2, 2], shared=True), divided, num_agents=3)

    assert found.sides == [(["agent_0"], ["agent_1", "agent_2"])]


def test_one_policy_for_two_agents_plays_both_ways_round(pairs):
    found = pairs(team([0, 0], shared=True), team([1, 1], shared=True))

    assert found.sides == TURNS
    assert len(found.play(0, 1)) == 6
    assert len(found.play(0, 0)) == 3
    three = [team([0, 0, 0], shared=True)] * 2
    assert len(pairs(*three, num_agents=3).sides) == 1  # each is as good as the first


def test_an_episode_played_both_ways_round_counts_once():
    played = [FinishedEpisode(seed, {"a": value}, {"a": 1}, 1, None) for seed, value in PLAYED]
    assert _returns(played) == estimate([2.0, 1.0])


def test_players_that_divide_agents_otherwise_are_refused(pairs):
    names = {"agent_0": "a", "agent_1": "b", "agent_2": "a"}
    other = ActingPolicies({"a": Fixed(0), "b": Fixed(1)}, names, {})
    with pytest.raises(ConfigError, match="cannot take each other's place"):
        pairs(team([0, 1, 2]), other, num_agents=3)
    with pytest.raises(ConfigError, match="at least two agents"):
        pairs(team([0]), team([0]), num_agents=1)


def test_drops_are_self_play_less_the_mean_with_others_on_both_sides():
    found = result_of([[1.0, 0.2], [0.4, 0.8]], first=[0.1, 0.3], second=[0.5, 0.1]).to_dict()

    assert found["self_play"] == [1.0, 0.8]
    assert found["cross_play"] == pytest.approx([0.3, 0.3])
    assert found["drop"] == pytest.approx([0.7, 0.5])
    assert found["random_partner"] == pytest.approx([0.3, 0.2])
    assert found["random_partner_drop"] == pytest.approx([0.7, 0.6])


def test_crossplay_of_real_checkpoints_keeps_the_contract_and_repeats(
    run_folder, tmp_path, write_run
):
    shared = write_run(
        tmp_path / "shared",
        env={"id": "MultiGrid-Empty-5x5-v0", "num_agents": 2, "kwargs": {"max_steps": 20}},
        policies="shared",
    )
    other = shutil.copytree(run_folder, tmp_path / "other")

    result = crossplay([run_folder, other, shared], episodes=4, greedy=False)
    found = json.loads(result.to_json())

    assert found.keys() >= KEYS
    assert found["format"] == 1
    assert found["env"].keys() == {"id", "num_agents", "kwargs"}
    assert found["protocol"].items() >= {"episodes": 4, "seed": 0, "greedy": False}.items()
    assert all(p.keys() == {"name", "run", "trial", "checkpoint"} for p in found["players"])
    assert np.shape(found["returns"]) == np.shape(found["success_rates"]) == (3, 3)
    assert np.shape(found["intervals_95"]) == (3, 3, 2)
    assert crossplay([run_folder, other, shared], episodes=4, greedy=False) == result
    # Self-play is what `evaluate` plays; a copy of a run is as good a partner as itself.
    alone = empo_rllib.evaluate(run_folder, episodes=4, greedy=False, references=False)
    assert result.returns[0][0] == alone.episode_return


def test_a_copy_of_a_player_is_as_good_a_partner_as_itself(run_folder, tmp_path):
    other = shutil.copytree(run_folder, tmp_path / "other")
    config = other / "resolved_config.yaml"  # what it learned from makes no other environment
    assert "team_reward: null" in config.read_text()
    config.write_text(config.read_text().replace("team_reward: null", "team_reward: sum"))
    settings = ["env.kwargs.max_steps=9"]
    told = []
    result = crossplay([run_folder, other], 5, greedy=True, settings=settings, tell=told.append)
    means = result.means
    assert told == [f"Playing pair {number} of 8" for number in range(1, 9)]
    assert np.ptp(means) == 0.0


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"id": "MultiGrid-Empty-6x6-v0", "num_agents": 2}, "env.id = 'MultiGrid-Empty-5x5-v0'"),
        ({"id": "MultiGrid-Empty-5x5-v0", "num_agents": 2}, "env.kwargs = {'max_steps': 20}"),
    ],
)
def test_players_of_other_environments_are_refused(run_folder, tmp_path, write_run, env, message):
    other = write_run(tmp_path / "other", env=env)
    with pytest.raises(ConfigError) as refused:
        crossplay([run_folder, other], episodes=1)
    assert message in str(refused.value)


def test_one_player_is_refused(run_folder):
    with pytest.raises(ConfigError, match="at least two"):
        crossplay([run_folder])


def text_of(result):
    console = Console(width=80, record=True, file=io.StringIO(), highlight=False)
    console.print(render_crossplay(result))
    return console.export_text()


def test_the_table_fits_a_terminal():
    lines = text_of(result_of(np.eye(12).tolist())).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("12 seed-11") for line in lines) == 2  # columns 1 to 8, 9 to 12
    assert "rows act for agent_0, columns for agent_1" in lines[1]
    assert "both ways round" in text_of(result_of([[1.0, 0.0], [0.0, 1.0]], averaged=True))


def test_the_table_says_that_policies_were_swapped_in_turn():
    agents = ["agent_0", "agent_1", "agent_2"]
    turns = [([agent], [a for a in agents if a != agent]) for agent in agents]
    result = replace(result_of([[1.0, 0.0], [0.0, 1.0]]), sides=turns)
    assert "rows act for each of 3 policies in turn" in text_of(result)


def test_the_heat_map_is_a_png_with_the_colours_of_the_returns():
    result = result_of([[1.0, 0.0], [0.0, 1.0]], first=[0.5, 0.5], second=[0.5, 0.5])

    picture = Image.open(io.BytesIO(draw_crossplay(result, ".png")))

    colours = {colour for _, colour in picture.getcolors(1 << 20)}
    assert {colour_of(v, 0.0, 1.0) for v in (0.0, 0.5, 1.0)} <= colours


def test_the_heat_map_as_svg_holds_every_number_and_escapes_names():
    result = result_of([[0.125, 0.25], [0.375, -1.5]], names=["a<b", "x" * 60])

    texts = [
        node.firstChild.data
        for node in minidom.parseString(draw_crossplay(result, ".svg")).getElementsByTagName("text")
    ]

    assert {"0.125", "0.250", "0.375", "-1.500", "1  a<b"} <= set(texts)
    assert max(map(len, texts)) < 60


def test_colours_go_from_one_end_of_the_scale_to_the_other():
    assert colour_of(0.0, 0.0, 2.0) == (68, 1, 84)
    assert colour_of(2.0, 0.0, 2.0) == (253, 231, 37)
    assert colour_of(1.0, 0.0, 2.0) == (33, 145, 140)
    assert colour_of(0.0, 0.0, 0.0) == (253, 231, 37)


def test_groups_are_summed_up_with_the_others_of_the_group():
    matrix = [[9.0, 1.0, 50.0], [3.0, 7.0, 60.0], [70.0, 80.0, 5.0]]
    result = result_of(matrix, first=[1.0, 2.0, 3.0], second=[3.0, 4.0, 5.0])
    group = PlayerGroup([0, 1], {"algorithm.params.lr": 0.01})

    found = replace(result, groups=[group])

    (written,) = json.loads(found.to_json())["groups"]
    assert written == {
        "players": ["seed-0", "seed-1"],
        "params": {"algorithm.params.lr": 0.01},
        "self_play": 8.0,
        "cross_play": 2.0,
        "drop": 6.0,
        "random_partner": 2.5,
        "random_partner_drop": 5.5,
    }
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render_crossplay(found))
    text = console.export_text()
    (row,) = [line for line in text.splitlines() if line.startswith("2 seeds: lr 0.01")]
    assert row.split()[-5:] == ["8.000", "2.000", "6.000", "2.500", "5.500"]
    assert "Seeds: means over players of the same settings" in text
