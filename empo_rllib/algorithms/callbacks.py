"""RLlib callbacks that every experiment runs with."""

from __future__ import annotations

import math
from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.callbacks.callbacks import RLlibCallback

SUCCESS_RATE = "success_rate"


def episode_success(infos: dict[str, dict[str, Any]]) -> bool | None:
    """Whether an episode succeeded, from its agents' last infos.

    Environments say so under `success` (MultiGrid here) or `is_success` (the Gymnasium
    robotics convention). None where the environment does not tell.
    """
    flags = [
        info[key] for info in infos.values() for key in ("success", "is_success") if key in info
    ]
    return any(flags) if flags else None


class EpisodeMetrics(RLlibCallback):
    """Logs the success rate over the same window of episodes as RLlib's returns."""

    def on_episode_end(
        self, *, episode: Any, env_runner: Any, metrics_logger: Any, **kwargs: Any
    ) -> None:
        infos = {
            str(agent): agent_episode.get_infos(-1)
            for agent, agent_episode in episode.agent_episodes.items()
            if len(agent_episode.infos) > 0
        }
        success = episode_success(infos)
        if success is not None:
            window = smoothing_window(env_runner.config)
            metrics_logger.log_value(SUCCESS_RATE, float(success), window=window)


def smoothing_window(config: AlgorithmConfig) -> int:
    """Episodes that one env runner averages over, as RLlib's `MultiAgentEnvRunner` does."""
    episodes = config.metrics_num_episodes_for_smoothing
    return max(1, math.ceil(episodes / (config.num_env_runners or 1)))
