"""Episodes come out the same in kernels and in Python environments."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

import empo_rllib
from empo_rllib.acting.batched import distinct
from empo_rllib.acting.stage import MAX_ENVS, Stage
from empo_rllib.acting.teams import ActingPolicies, random_team
from empo_rllib.algorithms.setup import open_env
from empo_rllib.envs.registry import make_env
from empo_rllib.experiment.run_folder import locate
from empo_rllib.results.crossplay import crossplay
from empo_rllib.results.load import load_policies
from empo_rllib.seeding import repeatable

from multigrid.core.actions import Action  # isort: skip
from multigrid.core.constants import Type  # isort: skip

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts

SEEDS = range(40, 60)
TWO = {"num_agents": 2, "kwargs": {"max_steps": 80}}


def decide_more(team):
    """Makes untrained policies prefer some actions, so that greedy ones get somewhere."""
    torch.manual_seed(5)
    for policy in team.by_name.values():
        for parameter in policy.module.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
    return team


def stage_of(make, played_in):
    """Copies that play either way."""
    stage = Stage(make, len(SEEDS))
    stage.played_in, stage.num_envs = played_in, min(len(SEEDS), MAX_ENVS[played_in])
    return stage


def play(team, make, played_in, greedy, num_envs=None):
    stage = stage_of(make, played_in)
    stage.num_envs = num_envs or stage.num_envs
    try:
        with repeatable(0):
            return [episode.to_dict() for episode in stage.play(team, SEEDS, greedy)]
    finally:
        stage.close()


@pytest.fixture(scope="module")
def team_of(write_run, tmp_path_factory):
    """Builds an untrained run and loads its policies."""

    def build(env, algorithm="PPO", **sections):
        folder = tmp_path_factory.mktemp("runs") / "run"
        trained = locate(write_run(folder, env=env, algorithm=algorithm, **sections))
        return decide_more(load_policies(trained)), partial(open_env, trained.config.env)

    return build


@pytest.mark.parametrize(
    ("env_id", "algorithm", "policies"),
    [
        ("MultiGrid-Empty-Random-6x6-v0", "PPO", "independent"),
        ("MultiGrid-Empty-Random-6x6-v0", "PPO", "shared"),
        ("MultiGrid-RedBlueDoors-6x6-v0", "PPO", "independent"),
        ("MultiGrid-BlockedUnlockPickup-v0", "PPO", {"agent_0": "first", "agent_1": "second"}),
        ("MultiGrid-Empty-Random-5x5-v0", "DQN", "shared"),
    ],
)
def test_greedy_episodes_are_those_of_python_environments(team_of, env_id, algorithm, policies):
    team, env = team_of({"id": env_id, **TWO}, algorithm, policies=policies)

    in_python = play(team, env, "python", greedy=True)
    assert play(team, env, "batched", greedy=True) == in_python
    assert play(team, env, "batched", greedy=True, num_envs=3) == in_python
    assert len({str(episode) for episode in in_python}) > 1


class Walker:
    """Walks along the walls, which leads round an empty room."""

    recurrent = False

    def act(self, observations, greedy, memories):
        return self.choose({"image": np.stack([seen["image"] for seen in observations])}, greedy)

    def choose(self, observations, greedy):
        ahead = observations["image"][:, 3, 5, 0]
        return np.where(ahead == int(Type.wall), int(Action.right), int(Action.forward))


@pytest.mark.parametrize("joint_reward", [False, True])
@pytest.mark.parametrize("mode", ["any", "all"])
def test_greedy_episodes_that_end_at_many_times_are_the_same(mode, joint_reward):
    options = {"success_termination_mode": mode, "joint_reward": joint_reward, "max_steps": 17}
    make = partial(make_env, "MultiGrid-Empty-Random-6x6-v0", 3, **options)
    agents = [f"agent_{number}" for number in range(3)]
    team = ActingPolicies(dict.fromkeys(agents, Walker()), {a: a for a in agents}, {})

    in_python = play(team, make, "python", greedy=True)
    assert play(team, make, "batched", greedy=True) == in_python
    assert len({episode["episode_return"] for episode in in_python}) > 5
    assert {episode["success"] for episode in in_python} >= {True}


def test_sampled_episodes_repeat(team_of):
    team, env = team_of({"id": "MultiGrid-Empty-Random-5x5-v0", **TWO})

    first = play(team, env, "batched", greedy=False)
    assert play(team, env, "batched", greedy=False) == first
    assert [episode["seed"] for episode in first] == list(SEEDS)


def test_kernels_play_what_they_can_and_python_the_rest():
    for env_id, played_in, most in (
        ("MultiGrid-Empty-5x5-v0", "batched", 256),
        ("CartPole-v1", "python", 32),
    ):
        stage = Stage(partial(make_env, env_id), episodes=1000)
        assert (stage.played_in, stage.num_envs) == (played_in, most)
        stage.close()


@pytest.mark.parametrize("played_in", ["batched", "python"])
def test_the_random_policy_takes_all_actions_equally_and_repeats(played_in):
    stage = stage_of(partial(make_env, "MultiGrid-Empty-5x5-v0", 2), played_in)
    env = stage.env
    first = stage.play(random_team(env, 3), SEEDS, greedy=False)
    assert first == stage.play(random_team(env, 3), SEEDS, greedy=False)
    assert first != stage.play(random_team(env, 4), SEEDS, greedy=False)
    stage.close()

    policy = random_team(env, 3).by_name["agent_0"]
    counts = np.bincount(policy.choose({"direction": np.zeros(7000)}, greedy=False), minlength=7)
    assert counts.min() > 850


def test_rows_are_the_same_when_they_are_in_all_arrays():
    rows = np.array([[1, 2], [1, 2], [3, 4], [1, 2]], np.uint8)
    seats = np.array([0, 0, 0, 1])

    first, kind = distinct([rows, seats])

    assert sorted(first.tolist()) == [0, 2, 3]
    assert np.array_equal(rows[first][kind], rows)
    assert np.array_equal(seats[first][kind], seats)


def test_other_environments_are_evaluated_and_cross_played_in_python(write_run, tmp_path):
    env = {"id": "mpe2.simple_spread_v3", "kwargs": {"max_cycles": 5}}
    runs = [write_run(tmp_path / "ppo", env=env), write_run(tmp_path / "dqn", env, "DQN")]

    result = empo_rllib.evaluate(runs[1], episodes=3)
    found = crossplay(runs, episodes=3, greedy=True).to_dict()

    assert (result.protocol.played_in, result.protocol.num_envs) == ("python", 3)
    assert result.references.optimum is None
    assert result.references.random_policy.episode_length.mean == 5.0
    assert found["sides"] == [
        [["agent_0"], ["agent_1", "agent_2"]],
        [["agent_1"], ["agent_0", "agent_2"]],
        [["agent_2"], ["agent_0", "agent_1"]],
    ]
    assert np.mean(found["returns_by_sides"], axis=0) == pytest.approx(np.array(found["returns"]))
    assert found["self_play"][1] == result.episode_return.mean
    assert found["success_rates"] == [[None, None], [None, None]]
