"""RLlib's own env runner obeys masks, too: the network applies them."""

from __future__ import annotations

import pytest
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner

from benchmarks.masks import Watched
from empo_rllib.algorithms.builder import build_algorithm_config
from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.config.load import validate_config

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts


def test_rllibs_sampler_asks_for_legal_actions_only():
    config = {
        "name": "run",
        "env": {"id": "pettingzoo.classic.tictactoe_v3"},
        "policies": "shared",
        "algorithm": {"name": "PPO"},
        "resources": {"sampler": "rllib", "num_envs_per_env_runner": 1},
    }
    built = build_algorithm_config(set_up_trial(validate_config(config)))
    runner = MultiAgentEnvRunner(config=built, worker_index=0)
    env = runner.env.envs[0].unwrapped
    env.env = watched = Watched(env.env)
    runner.sample(num_timesteps=60)
    assert watched.asked >= 60
    assert watched.illegal == 0
    runner.stop()
