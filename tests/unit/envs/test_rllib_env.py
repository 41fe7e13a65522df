"""RLlib's own environments are environments like any other, with the ids that they give agents."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from ray.tune import register_env

from empo_rllib.acting.play import play_episodes
from empo_rllib.acting.teams import random_team
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.envs.registry import make_env
from empo_rllib.errors import EnvError

SEEN = {"white": spaces.Box(-1.0, 1.0, (2,)), 7: spaces.Discrete(3)}
ACTS = {"white": spaces.Discrete(2), 7: spaces.Discrete(3, start=1)}


class Turns(MultiAgentEnv):
    """Two agents in turns: white first. Each is paid 1 by its own action, the other -1."""

    def __init__(self, config=None):
        super().__init__()
        self.length = dict(config or {}).get("length", 6)
        self.possible_agents = list(self.seen)
        self.agents = list(self.seen)

    def reset(self, *, seed=None, options=None):
        self.moment = 0
        return self._look(), {}

    def step(self, action_dict):
        agent = self._turn()
        assert set(action_dict) == {agent}
        self.get_action_space(agent).contains(action_dict[agent])
        self.moment += 1
        rewards = {a: 1.0 if a == agent else -1.0 for a in self.possible_agents}
        over = self.moment == self.length
        return self._look(), rewards, {"__all__": over}, {"__all__": False}, {}

    def _turn(self):
        return self.possible_agents[self.moment % 2]

    def _look(self):
        agent = self._turn()
        return {agent: self.get_observation_space(agent).sample()}


class OwnSpaces(Turns):
    seen = SEEN
    observation_spaces, action_spaces = SEEN, ACTS


class CommonSpaces(Turns):
    seen = ("white", "black")
    observation_space, action_space = SEEN["white"], ACTS["white"]


def make_own(config) -> MultiAgentEnv:
    return OwnSpaces(config)


def make_common(length=6) -> MultiAgentEnv:
    return CommonSpaces({"length": length})


WAYS = {
    "class, own spaces": (f"{__name__}:OwnSpaces", ["white", "7"]),
    "class, common spaces": (f"{__name__}:CommonSpaces", ["white", "black"]),
    "factory, own spaces": (f"{__name__}:make_own", ["white", "7"]),
    "factory, common spaces": (f"{__name__}:make_common", ["white", "black"]),
    "registered, own spaces": ("turns-own", ["white", "7"]),
    "registered, common spaces": ("turns-common", ["white", "black"]),
}


@pytest.fixture(autouse=True)
def _registered():
    register_env("turns-own", lambda config: OwnSpaces(config))
    register_env("turns-common", lambda config: CommonSpaces(config))


@pytest.mark.parametrize("way", WAYS)
def test_it_is_played_in_turns(way):
    id, agents = WAYS[way]
    env = ParallelMultiAgentEnv(make_env(id, length=5))
    assert env.possible_agents == agents

    (episode,) = play_episodes(random_team(env.env, 0), [env], [0], greedy=False)

    first, second = agents
    assert episode.length == 5
    assert dict(episode.lengths) == {first: 3, second: 2}
    # The second is not paid for what came before its first action.
    assert episode.returns == {first: 3.0 - 2.0, second: 2.0 - 2.0}


def test_what_rllib_ships_works():
    classes = "ray.rllib.examples.envs.classes.multi_agent"
    env = ParallelMultiAgentEnv(make_env(f"{classes}:MultiAgentCartPole", num_agents=3))
    assert env.possible_agents == ["0", "1", "2"]
    (episode,) = play_episodes(random_team(env.env, 0), [env], [0], greedy=False)
    assert sum(episode.returns.values()) == sum(episode.lengths.values()) > 30


def test_another_number_of_agents_is_refused():
    with pytest.raises(EnvError, match=r"the number of agents of .* is 2"):
        make_env(f"{__name__}:OwnSpaces", num_agents=3)


def test_a_name_that_nobody_registered_is_told():
    with pytest.raises(EnvError, match="not a known environment"):
        make_env("turns-never")


def test_observations_are_those_of_the_environment():
    env = make_env(f"{__name__}:CommonSpaces")
    seen, _ = env.reset(seed=3)
    assert list(seen) == ["white"]
    assert seen["white"].dtype == np.float32
