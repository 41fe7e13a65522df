from __future__ import annotations

import json

import numpy as np
import pytest
import ray
from gymnasium import spaces
from pettingzoo import ParallelEnv

import empo_rllib
from empo_rllib.acting.play import play_episodes
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.errors import ConfigError
from empo_rllib.results.evaluation import Protocol, build_result

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts


class CountdownEnv(ParallelEnv):
    """`short` earns 1 per step and leaves after 2; `long` earns 10 and ends after seed + 1."""

    metadata = {"name": "countdown", "render_modes": []}
    possible_agents = ["short", "long"]
    truncates = False
    tells_success = True

    def observation_space(self, agent):
        return spaces.Discrete(100)

    def action_space(self, agent):
        return spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        self.agents = self.possible_agents[:]
        self.moment, self.end = 0, seed + 1
        return dict.fromkeys(self.agents, 0), {agent: {} for agent in self.agents}

    def step(self, actions):
        assert set(actions) == set(self.agents)
        self.moment += 1
        acted = self.agents
        left = {"short": self.moment >= 2, "long": False}
        over = self.moment >= self.end
        ended = {agent: left[agent] or over for agent in acted}
        self.agents = [agent for agent in acted if not ended[agent]]
        never = dict.fromkeys(acted, False)
        info = {"success": self.end % 2 == 0} if over and self.tells_success else {}
        return (
            dict.fromkeys(acted, self.moment),
            {agent: {"short": 1.0, "long": 10.0}[agent] for agent in acted},
            *((never, ended) if self.truncates else (ended, never)),
            dict.fromkeys(acted, info),
        )


class RecordingPolicies:
    """Always acts 1, and remembers how many episodes were asked for at a time."""

    def __init__(self):
        self.batches = []

    def act(self, observations, greedy, memories):
        self.batches.append(len(observations))
        return [dict.fromkeys(seen, 1) for seen in observations]


def play(num_envs, seeds, **attributes):
    policies, envs = RecordingPolicies(), []
    for _ in range(num_envs):
        env = CountdownEnv()
        vars(env).update(attributes)
        envs.append(ParallelMultiAgentEnv(env))
    return play_episodes(policies, envs, seeds, greedy=True), policies


def result_of(episodes, policy_of_agent=None):
    episodes = [episode.finished() for episode in episodes]
    protocol = Protocol("checkpoint", {"id": "x"}, len(episodes), 0, True)
    return build_result(protocol, episodes, policy_of_agent or {"short": "a", "long": "b"})


@pytest.mark.parametrize("num_envs", [1, 3, 8])
def test_exactly_one_episode_per_seed_is_played_to_its_end(num_envs):
    episodes, _ = play(num_envs, range(8))

    assert [episode.seed for episode in episodes] == list(range(8))
    assert [episode.length for episode in episodes] == [seed + 1 for seed in range(8)]
    assert all(episode.over and not episode.observations for episode in episodes)


def test_envs_play_in_lockstep_and_take_the_next_seed_when_they_are_free():
    _, policies = play(3, range(4))  # lengths 1, 2, 3 and 4

    assert policies.batches == [3, 3, 2, 1, 1]


@pytest.mark.parametrize("truncates", [False, True])
def test_rewards_are_summed_per_agent_until_it_leaves(truncates):
    episodes, _ = play(2, range(5), truncates=truncates)

    assert [e.returns["short"] for e in episodes] == [1.0, 2.0, 2.0, 2.0, 2.0]
    assert [e.returns["long"] for e in episodes] == [10.0, 20.0, 30.0, 40.0, 50.0]


def test_result_holds_returns_per_agent_and_policy_success_and_length():
    episodes, _ = play(2, range(4))

    result = result_of(episodes)

    assert result.episode_return.mean == np.mean([11, 22, 32, 42])
    assert result.agent_return["short"].mean == 1.75
    assert result.agent_return["long"].mean == 25.0
    assert result.policy_return["b"] == result.agent_return["long"]
    assert result.episode_length.mean == 2.5
    assert result.success_rate == 0.5
    assert result.episodes[1] == {
        "seed": 1,
        "episode_return": 22.0,
        "episode_length": 2,
        "success": True,
        "cut": False,
        "agent_return": {"short": 2.0, "long": 20.0},
        "agent_length": {"short": 2, "long": 2},
    }


def test_an_agents_length_is_the_steps_that_it_acted_in_and_a_policys_their_mean():
    episodes, _ = play(2, range(4))

    result = result_of(episodes, {"short": "both", "long": "both"})

    assert result.agent_length["short"].mean == 1.75
    assert result.agent_length["long"].mean == 2.5
    assert result.policy_length["both"].mean == (1.75 + 2.5) / 2


def test_success_is_told_with_an_interval_and_per_agent_and_policy():
    episodes, _ = play(2, range(4))
    del episodes[0].returns["short"]  # it was not there

    result = result_of(episodes)

    assert result.agent_success_rate == {"short": 2 / 3, "long": 0.5}
    assert result.policy_success_rate == {"a": 2 / 3, "b": 0.5}
    low, high = result.success_interval_95
    assert low < 0.5 < high


def test_a_policys_return_is_the_sum_over_its_agents():
    episodes, _ = play(2, range(4))

    result = result_of(episodes, {"short": "both", "long": "both"})

    assert result.policy_return == {"both": result.episode_return}


def test_an_agent_counts_only_in_the_episodes_that_it_took_part_in():
    episodes, _ = play(2, range(4))
    del episodes[0].returns["short"]

    result = result_of(episodes, {"short": "a", "long": "b", "never_there": "c"})

    assert result.agent_return["short"].n == 3
    assert result.policy_return["a"].n == 3
    assert set(result.agent_return) == {"short", "long"}


def test_success_is_null_where_the_environment_does_not_tell():
    episodes, _ = play(2, range(3), tells_success=False)

    assert json.loads(result_of(episodes).to_json())["success_rate"] is None


def test_evaluate_says_what_it_did_and_starts_no_ray(run_folder):
    result = empo_rllib.evaluate(run_folder, episodes=3, seed=5, greedy=False)

    written = json.loads(result.to_json())
    assert written["protocol"] == {
        "checkpoint": str(run_folder / "trial_00000" / "checkpoint_000001"),
        "env": {
            "id": "MultiGrid-Empty-5x5-v0",
            "num_agents": 2,
            "kwargs": {"max_steps": 20},
        },
        "episodes": 3,
        "seed": 5,
        "greedy": False,
        "settings": [],
        "played_in": "batched",
        "num_envs": 3,
        "episode_limit": 10_000,
        "package_version": empo_rllib.__version__,
    }
    assert written["source"] == {
        "name": "small",
        "run": str(run_folder),
        "trial": "trial_00000",
        "training_seed": 0,
    }
    assert [episode["seed"] for episode in written["episodes"]] == [5, 6, 7]
    assert set(written["episode_return"]) == {"n", "mean", "interquartile_mean", "interval_95"}
    assert set(written["agent_return"]) == {"agent_0", "agent_1"}
    assert not ray.is_initialized()


def test_run_trial_and_checkpoint_give_the_same_numbers_again_and_again(run_folder):
    trial = run_folder / "trial_00000"
    results = [
        empo_rllib.evaluate(place, episodes=40, greedy=False).to_json()
        for place in (run_folder, str(trial), trial / "checkpoint_000001")
    ]

    assert results[0] == results[1] == results[2]
    other = empo_rllib.evaluate(run_folder, episodes=40, seed=100, greedy=False)
    assert other.episodes != json.loads(results[0])["episodes"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"episodes": 0}, "episodes = 0 must be at least 1"),
        ({"seed": -1}, "seed = -1 must be at least 0"),
        ({"seed": 2**32}, "seed = 4294967296 must be"),
    ],
)
def test_impossible_numbers_are_refused(run_folder, arguments, message):
    with pytest.raises(ConfigError, match=message):
        empo_rllib.evaluate(run_folder, **arguments)
