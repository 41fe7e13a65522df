"""Gymnasium environments of several agents, whose spaces are Tuples of one part for each."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from empo_rllib.acting.play import play_episodes
from empo_rllib.acting.teams import random_team
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.envs.registry import make_env
from empo_rllib.errors import EnvError


class Foraging(gym.Env):
    """As level-based foraging: Tuples in and out, a list of rewards, one end for all."""

    observation_space = spaces.Tuple([spaces.Box(0.0, 9.0, (2,)), spaces.Box(0.0, 9.0, (3,))])
    action_space = spaces.Tuple([spaces.Discrete(4), spaces.Discrete(2, start=1)])

    def __init__(self, paid="list", ends="one", length=4):
        self.paid, self.ends, self.length = paid, ends, length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.moment = 0
        return self._look(), {"moment": 0}

    def step(self, action):
        assert isinstance(action, tuple)
        assert self.action_space.contains(action), action
        self.moment += 1
        over = self.moment == self.length
        rewards = {"list": [1.0, 2.0], "array": np.array([1.0, 2.0]), "one": 0.5, "three": [1] * 3}
        ends = {"one": over, "each": [self.moment >= 2, over]}
        return self._look(), rewards[self.paid], ends[self.ends], False, {"moment": self.moment}

    def _look(self):
        return tuple(
            np.full(part.shape, self.moment, np.float32) for part in self.observation_space
        )


def make(**kwargs) -> gym.Env:
    return gym.wrappers.TimeLimit(Foraging(**kwargs), 100)


def played(**kwargs):
    env = ParallelMultiAgentEnv(make_env(f"{__name__}:make", **kwargs))
    return play_episodes(random_team(env.env, 0), [env], [0], greedy=False)[0]


@pytest.mark.parametrize("paid", ["list", "array"])
def test_each_agent_has_its_part(paid):
    episode = played(paid=paid)
    assert episode.returns == {"agent_0": 4.0, "agent_1": 8.0}
    assert dict(episode.lengths) == {"agent_0": 4, "agent_1": 4}


def test_one_reward_is_everybodys():
    assert played(paid="one").returns == {"agent_0": 2.0, "agent_1": 2.0}


def test_agents_may_end_apart():
    episode = played(ends="each")
    assert episode.returns == {"agent_0": 2.0, "agent_1": 8.0}
    assert dict(episode.lengths) == {"agent_0": 2, "agent_1": 4}


def test_spaces_may_differ():
    env = make_env(f"{__name__}:make")
    assert [env.observation_space(a).shape for a in env.possible_agents] == [(2,), (3,)]
    assert env.action_space("agent_1") == spaces.Discrete(2, start=1)


def test_parts_for_other_agents_are_told():
    with pytest.raises(EnvError, match="3 parts for 2 agents"):
        played(paid="three")


class ByAgent(Foraging):
    """The same with Dicts by agent, who are numbers; __all__ tells the end."""

    observation_space = spaces.Dict({0: spaces.Box(0.0, 9.0, (2,)), 1: spaces.Box(0.0, 9.0, (3,))})
    action_space = spaces.Dict({0: spaces.Discrete(4), 1: spaces.Discrete(2, start=1)})

    def step(self, action):
        assert self.action_space.contains(action), action
        self.moment += 1
        over = self.moment == self.length
        ends = {0: over, 1: over}
        return self._look(), {0: 1.0, 1: 2.0}, ends, {0: False, 1: False}, {0: {}, 1: {}}

    def _look(self):
        return {
            agent: np.full(space.shape, self.moment, np.float32)
            for agent, space in self.observation_space.items()
        }


def test_parts_may_come_in_dicts_by_agent():
    env = ParallelMultiAgentEnv(make_env(f"{__name__}:ByAgent"))
    (episode,) = play_episodes(random_team(env.env, 0), [env], [0], greedy=False)
    assert episode.returns == {"0": 4.0, "1": 8.0}
    assert dict(episode.lengths) == {"0": 4, "1": 4}
