"""Actions have the names that their environment gives them."""

from __future__ import annotations

import gymnasium as gym
import pytest
from gymnasium import spaces

from empo_rllib.envs.action_names import action_names
from empo_rllib.envs.gymnasium_env import AGENT, GymnasiumParallelEnv
from empo_rllib.envs.registry import make_env
from examples.competitive import Tag


def test_multigrid_and_environments_that_tell_have_names():
    grid, tag = make_env("MultiGrid-Empty-5x5-v0", num_agents=1), Tag()
    assert action_names(grid, "agent_0")[:3] == ["left", "right", "forward"]
    assert action_names(tag, "tagger")[1] == "right"


def test_a_gymnasium_environment_tells_through_its_wrappers():
    class Told(gym.Env):
        observation_space, action_space = spaces.Discrete(2), spaces.Discrete(2)

        def get_action_meanings(self):
            return ["NOOP", "FIRE"]

    env = GymnasiumParallelEnv(gym.wrappers.TimeLimit(Told(), 5))
    assert action_names(env, AGENT) == ["NOOP", "FIRE"]


@pytest.mark.parametrize(
    "space", [spaces.Discrete(4), spaces.Discrete(5, start=1), spaces.Box(0, 1)]
)
def test_names_that_do_not_fit_the_actions_are_none(space):
    tag = Tag()
    tag.action_space = lambda agent: space
    assert action_names(tag, "tagger") == []
