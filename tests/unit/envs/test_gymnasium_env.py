from __future__ import annotations

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test, parallel_seed_test

from empo_rllib.envs.registry import make_env


def test_a_gymnasium_env_passes_pettingzoos_tests():
    parallel_api_test(make_env("CartPole-v1"), num_cycles=100)
    parallel_seed_test(lambda: make_env("CartPole-v1"), num_cycles=50)


def test_it_has_the_one_agent_agent_0():
    env = make_env("MountainCarContinuous-v0", num_agents=1)
    observations, infos = env.reset(seed=0)
    assert env.agents == env.possible_agents == ["agent_0"]
    assert set(observations) == set(infos) == {"agent_0"}


def test_its_time_limit_truncates_and_its_end_terminates():
    env = make_env("CartPole-v1", max_episode_steps=3)
    env.reset(seed=0)
    for t in range(3):
        _, rewards, terminations, truncations, _ = env.step({"agent_0": t % 2})
    assert (rewards, terminations, truncations) == (
        {"agent_0": 1.0},
        {"agent_0": False},
        {"agent_0": True},
    )
    assert env.agents == []
    assert env.step({}) == ({}, {}, {}, {}, {})


def test_it_renders_in_the_mode_asked_for():
    env = make_env("FrozenLake-v1", render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    env.close()
    assert env.metadata["name"] == "FrozenLake-v1"
    assert picture.dtype == np.uint8
    assert picture.ndim == 3


def test_its_actions_reach_it():
    env = make_env("MountainCarContinuous-v0")
    start = env.reset(seed=0)[0]["agent_0"]
    after = env.step({"agent_0": np.array([1.0], np.float32)})[0]["agent_0"]
    env.reset(seed=0)
    other = env.step({"agent_0": np.array([-1.0], np.float32)})[0]["agent_0"]
    assert after[1] > start[1]
    assert other[1] == pytest.approx(after[1] - 0.003, abs=1e-6)
