"""How finished episodes become metrics."""

from __future__ import annotations

import math

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig


def smoothing_window(config: AlgorithmConfig) -> int:
    """Episodes that one env runner averages over, as RLlib's `MultiAgentEnvRunner` does."""
    episodes = config.metrics_num_episodes_for_smoothing
    return max(1, math.ceil(episodes / (config.num_env_runners or 1)))
