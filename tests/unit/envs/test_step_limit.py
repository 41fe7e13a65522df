from __future__ import annotations

import gymnasium as gym
import pytest
from gymnasium import spaces

from empo_rllib import make_env
from empo_rllib.envs.gymnasium_env import GymnasiumParallelEnv
from empo_rllib.envs.joint_env import JointParallelEnv
from empo_rllib.envs.step_limit import step_limit


@pytest.mark.parametrize(
    ("env_id", "kwargs", "limit"),
    [
        ("MultiGrid-Empty-5x5-v0", {}, 100),
        ("MultiGrid-Empty-5x5-v0", {"max_steps": 7}, 7),
        ("CartPole-v1", {}, 500),
        ("sisl/pursuit-v5", {"max_cycles": 12}, 12),
        ("examples.competitive:Tag", {"max_steps": 9}, 9),
    ],
)
def test_the_limit_of_an_episode_is_found(env_id, kwargs, limit):
    env = make_env(env_id, **kwargs)
    try:
        assert step_limit(env) == limit
    finally:
        env.close()


def test_an_environment_that_does_not_tell_has_no_known_limit():
    class Env:
        @property
        def unwrapped(self):
            return self

    assert step_limit(Env()) is None


@pytest.mark.parametrize("name", ["max_steps", "_max_episode_steps"])
@pytest.mark.parametrize("adapter", [GymnasiumParallelEnv, JointParallelEnv])
def test_a_gymnasium_environment_may_keep_the_limit_itself(adapter, name):
    class Env(gym.Env):
        observation_space = action_space = spaces.Tuple([spaces.Discrete(2)])

    env = Env()
    setattr(env, name, 250)
    assert step_limit(adapter(env)) == 250
