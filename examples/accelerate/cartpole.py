"""CartPoles with a policy each, on plain RLlib: `python -m examples.accelerate.cartpole`."""

from __future__ import annotations

from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.examples.envs.classes.multi_agent import MultiAgentCartPole

import empo_rllib


def build_config() -> PPOConfig:
    """Returns a config as one would write it without this package."""
    return (
        PPOConfig()
        .environment(MultiAgentCartPole, env_config={"num_agents": 2})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=8)
        .multi_agent(
            policies={"p0", "p1"}, policy_mapping_fn=lambda agent, episode, **kwargs: f"p{agent}"
        )
        .training(train_batch_size_per_learner=4000, minibatch_size=500, num_epochs=4)
        .debugging(seed=0)
    )


if __name__ == "__main__":
    algorithm = empo_rllib.accelerate(build_config()).build_algo()
    for _ in range(10):
        print(algorithm.train()["env_runners"]["episode_return_mean"])
    algorithm.stop()
