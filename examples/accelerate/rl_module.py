"""An RLModule of one's own beside RLlib's: `python -m examples.accelerate.rl_module`."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.examples.envs.classes.multi_agent import MultiAgentCartPole

import empo_rllib


class Linear(TorchRLModule, ValueFunctionAPI):
    """An actor of one layer, and a critic of two."""

    def setup(self) -> None:
        """Makes the layers."""
        size = self.observation_space.shape[0]
        self.actor = torch.nn.Linear(size, self.action_space.n)
        width = self.model_config["width"]
        self.critic = torch.nn.Sequential(
            torch.nn.Linear(size, width), torch.nn.Tanh(), torch.nn.Linear(width, 1)
        )

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {Columns.ACTION_DIST_INPUTS: self.actor(batch[Columns.OBS])}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> torch.Tensor:
        """Returns the values [B] of observations [B, 4]."""
        return self.critic(batch[Columns.OBS]).squeeze(-1)


def build_config() -> PPOConfig:
    """Returns a config as one would write it without this package."""
    return (
        PPOConfig()
        .environment(MultiAgentCartPole, env_config={"num_agents": 2})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=8)
        .multi_agent(
            policies={"p0", "p1"}, policy_mapping_fn=lambda agent, episode, **kwargs: f"p{agent}"
        )
        .rl_module(rl_module_spec=RLModuleSpec(module_class=Linear, model_config={"width": 32}))
        .training(train_batch_size_per_learner=4000, minibatch_size=500, num_epochs=4)
        .debugging(seed=0)
    )


if __name__ == "__main__":
    algorithm = empo_rllib.accelerate(build_config()).build_algo()
    for _ in range(10):
        print(algorithm.train()["env_runners"]["episode_return_mean"])
    algorithm.stop()
