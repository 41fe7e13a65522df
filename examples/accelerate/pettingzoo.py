"""A PettingZoo environment, registered by name: `python -m examples.accelerate.pettingzoo`.

It needs the package mpe2: `pip install "mpe2==1.0.*"`.
"""

from __future__ import annotations

from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
from ray.tune import register_env

import empo_rllib


def make_spread(config: dict) -> ParallelPettingZooEnv:
    """Makes three agents that share the task of covering three landmarks."""
    from mpe2 import simple_spread_v3

    return ParallelPettingZooEnv(simple_spread_v3.parallel_env(**config))


def build_config() -> PPOConfig:
    """Returns a config as one would write it without this package."""
    register_env("spread", make_spread)
    return (
        PPOConfig()
        .environment("spread", env_config={"max_cycles": 25})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=8)
        .multi_agent(
            policies={"shared"}, policy_mapping_fn=lambda agent, episode, **kwargs: "shared"
        )
        .training(train_batch_size_per_learner=4000, minibatch_size=500, num_epochs=4)
        .debugging(seed=0)
    )


if __name__ == "__main__":
    algorithm = empo_rllib.accelerate(build_config()).build_algo()
    for _ in range(10):
        print(algorithm.train()["env_runners"]["episode_return_mean"])
    algorithm.stop()
