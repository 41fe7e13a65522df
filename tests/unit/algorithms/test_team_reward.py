"""Where a team reward is refused, before anything starts."""

from __future__ import annotations

import pytest

from empo_rllib.algorithms.builder import build_algorithm_config
from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.config.load import validate_config
from empo_rllib.errors import ConfigError
from empo_rllib.sampling.env_runner import FRAGMENT_SOURCE


def grid(algorithm="PPO", sampler="auto", **kwargs):
    env = {"id": "MultiGrid-Empty-5x5-v0", "num_agents": 2, "team_reward": "sum", "kwargs": kwargs}
    return validate_config(
        {
            "name": "run",
            "env": env,
            "algorithm": {"name": algorithm},
            "resources": {"sampler": sampler},
        }
    )


def test_the_env_runner_is_told():
    source = build_algorithm_config(set_up_trial(grid())).env_config[FRAGMENT_SOURCE]
    assert source.team_reward == "sum"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            grid(joint_reward=True),
            "env.team_reward = 'sum' and env.kwargs.joint_reward = True both",
        ),
        (grid(sampler="rllib"), "needs the sampler batched or python, .* as asked for"),
        (grid("DQN"), "the faster samplers train PPO, not DQN"),
    ],
)
def test_a_team_reward_that_would_not_be_paid_is_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        set_up_trial(config)
