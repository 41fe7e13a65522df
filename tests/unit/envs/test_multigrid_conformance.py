"""PettingZoo's own tests on every MultiGrid environment, beside upstream's wrapper."""

from __future__ import annotations

import pytest
from gymnasium.utils.env_checker import data_equivalence
from multigrid.base import MultiGridEnv
from multigrid.envs import CONFIGURATIONS
from multigrid.pettingzoo import PettingZooWrapper
from pettingzoo.test import parallel_api_test, parallel_seed_test, render_test
from pettingzoo.utils.conversions import parallel_to_aec

from empo_rllib.envs.registry import MULTIGRID_IDS, make_env

every_env = pytest.mark.parametrize("env_id", MULTIGRID_IDS)
every_count = pytest.mark.parametrize("num_agents", [1, 2, 4])


@every_env
@every_count
def test_parallel_api_test_passes(env_id, num_agents):
    parallel_api_test(make_env(env_id, num_agents), num_cycles=150)


@every_env
def test_parallel_api_test_passes_through_the_end_of_an_episode(env_id):
    parallel_api_test(make_env(env_id, 2, max_steps=20), num_cycles=30)


@every_env
@every_count
def test_parallel_seed_test_passes(env_id, num_agents):
    parallel_seed_test(lambda: make_env(env_id, num_agents), num_cycles=50)


@every_env
@every_count
def test_render_test_passes(env_id, num_agents, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setitem(MultiGridEnv.metadata, "render_fps", 0)  # as fast as it can
    render_test(lambda **mode: parallel_to_aec(make_env(env_id, num_agents, tile_size=8, **mode)))


@every_env
@every_count
def test_a_seed_repeats_whole_episodes(env_id, num_agents):
    # PettingZoo's seed test stops after one step (it looks at the names of agents, not at flags).
    first, second = (make_env(env_id, num_agents, max_steps=25) for _ in range(2))
    first.reset(seed=9)  # what happened before a seed must not matter
    assert data_equivalence(play(first, seed=3), play(second, seed=3))


@every_env
@pytest.mark.filterwarnings("ignore")
def test_upstreams_wrapper_fails_parallel_api_test(env_id):
    env_class, arguments = CONFIGURATIONS[env_id]
    upstream = PettingZooWrapper(env_class(**arguments, agents=2))
    with pytest.raises(Exception):  # noqa: B017, PT011 (each env fails in a way of its own)
        parallel_api_test(upstream, num_cycles=150)


def play(env, seed):
    """Returns everything that two episodes give, the second of them without a seed."""
    seen = []
    for agent in env.possible_agents:
        env.action_space(agent).seed(seed)
    for episode_seed in (seed, None):
        seen.append(env.reset(seed=episode_seed))
        seen.append(str(env.env.np_random.bit_generator.state))  # the order of action
        while env.agents:
            actions = {agent: env.action_space(agent).sample() for agent in env.agents}
            seen.append(env.step(actions))
    return seen
