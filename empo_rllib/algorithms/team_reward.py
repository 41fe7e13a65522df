"""`env.team_reward`: where every agent can be paid what the team earns."""

from __future__ import annotations

from typing import Any

from empo_rllib.algorithms.sampler import Sampler
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.errors import ConfigError


def check_team_reward(config: ExperimentConfig, env: Any, sampler: Sampler) -> None:
    """Refuses a team reward that would be paid twice, or not to those that have left.

    Args:
        config: an experiment without search spaces.
        env: an instance of its PettingZoo environment.
        sampler: how it samples.

    Raises:
        ConfigError: the environment itself pays one agent's reward to all, or RLlib's episodes,
            in which an agent that is done can be paid nothing, are sampled.
    """
    if config.env.team_reward is None:
        return
    setting = f"env.team_reward = {config.env.team_reward!r}"
    grid = getattr(getattr(env, "env", None), "unwrapped", None)
    if config.env.kwargs.get("joint_reward") or getattr(grid, "joint_reward", False):
        raise ConfigError(
            f"{setting} and env.kwargs.joint_reward = True both pay all agents for one's arrival. "
            "Remove joint_reward: it pays nothing to agents that have left."
        )
    if sampler.name == "rllib":
        raise ConfigError(
            f"{setting} needs the sampler batched or python, and this trial gets rllib: "
            f"{sampler.reason}. RLlib's episodes cannot pay an agent that has left. Change that, "
            "or remove the setting."
        )
