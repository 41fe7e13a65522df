"""Each suggestion follows from a number, and goes away with it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from empo_rllib.config.load import validate_config
from empo_rllib.doctor.play import Played
from empo_rllib.doctor.suggestions import Measured, suggest
from empo_rllib.doctor.times import Times


def episode(length, reward=0.0, agents=2):
    rewards = {f"agent_{i}": [reward] * length for i in range(agents)}
    return SimpleNamespace(length=length, rewards=rewards)


def options(
    episodes=(), step_us=50.0, make_us=500.0, sampler="python", agents=2, cpus=8, **sections
):
    config = {"name": "x", "env": {"id": "x"}, "algorithm": {"name": "PPO"}, **sections}
    played = Played(episodes=list(episodes), seen_agents={f"agent_{i}" for i in range(agents)})
    times = Times(make_us, 100.0, step_us, 5.0, 5.0)
    measured = Measured(validate_config(config), sampler, played, times, True, cpus)
    return {suggestion.key: suggestion for suggestion in suggest(measured)}


def test_a_quick_environment_with_short_episodes_and_small_returns_needs_nothing():
    assert options([episode(50, 0.01)] * 5) == {}


def test_slow_steps_are_shared_among_processes():
    found = options(step_us=4000.0)["resources.num_env_runners"]
    assert found.value == 8
    assert found.option == "--set resources.num_env_runners=8"
    assert "takes 16.0 s in one process, at 4 ms each; this machine has 8 CPUs" in found.reason


@pytest.mark.parametrize(
    "changes",
    [
        {"sampler": "batched"},
        {"sampler": "rllib"},
        {"cpus": 1},
        {"step_us": 400.0},
        {"resources": {"num_env_runners": 8}},
    ],
)
def test_no_processes_are_suggested_where_they_bring_nothing(changes):
    assert "resources.num_env_runners" not in options(**{"step_us": 4000.0, **changes})


def test_batches_that_cut_episodes_short_want_fewer_envs():
    found = options([episode(500)] * 2)["resources.num_envs_per_env_runner"]
    assert found.value == 8
    assert "from 40 envs holds 100 steps of each, episodes have 500" in found.reason


def test_envs_are_counted_over_the_processes_that_are_suggested():
    found = options([episode(500)] * 2, step_us=1000.0, cpus=4)
    assert found["resources.num_env_runners"].value == 4
    assert found["resources.num_envs_per_env_runner"].value == 2


def test_an_env_that_is_slow_to_make_is_made_fewer_times():
    found = options(make_us=1e6)["resources.num_envs_per_env_runner"]
    assert (found.value, found.reason) == (5, "making 40 envs takes 40 s, at 1 s each")


def test_a_batched_environment_may_have_long_episodes():
    assert options([episode(500)] * 5, sampler="batched") == {}


def test_many_agents_with_the_same_spaces_may_share_a_policy():
    assert options(agents=4)["policies"].option == "--set policies=shared"
    assert options(agents=4, policies="shared") == {}
    assert options(agents=3) == {}


def test_returns_beyond_the_clip_of_the_critics_error_are_told():
    found = options([episode(20, 1.0)])["algorithm.params.vf_clip_param"]
    assert found.option == "--set algorithm.params.vf_clip_param=400"
    assert "larger than 3.2" in found.reason


@pytest.mark.parametrize(
    "algorithm",
    [
        {"name": "PPO", "params": {"vf_clip_param": 1000.0}},
        {"name": "PPO", "params": {"vf_clip_param": None}},
        {"name": "DQN"},
    ],
)
def test_a_clip_that_is_wide_enough_or_absent_is_left_alone(algorithm):
    assert options([episode(20, 1.0)], sampler="rllib", algorithm=algorithm) == {}
