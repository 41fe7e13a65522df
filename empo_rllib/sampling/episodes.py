"""What became of each episode: lengths and returns, for the metrics."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from empo_rllib.envs.vector_env import VectorEnv


@dataclass(frozen=True)
class Episode:
    """A finished episode.

    Attributes:
        length: env steps.
        returns: float64 [A], undiscounted; 0 for agents that never acted.
        acted: int64 [A], agent steps.
        duration_s: seconds between its first and last step.
        success: 1, 0, or -1 where the environment does not tell.
    """

    length: int
    returns: np.ndarray
    acted: np.ndarray
    duration_s: float
    success: int

    def env_steps(self) -> int:
        """As `MultiAgentEpisode.env_steps`."""
        return self.length

    def agent_steps(self) -> int:
        """As `MultiAgentEpisode.agent_steps`."""
        return int(self.acted.sum())


class EpisodeRecorder:
    """Adds up the running episodes of a `VectorEnv` that has just been reset."""

    def __init__(self, envs: VectorEnv) -> None:
        self._envs = envs
        shape = (envs.num_envs, len(envs.agents))
        self._returns = np.zeros(shape)
        self._acted = np.zeros(shape, np.int64)
        self._length = np.zeros(envs.num_envs, np.int64)
        self._started = np.full(envs.num_envs, time.perf_counter())

    def add_step(self, present: np.ndarray) -> dict[int, Episode]:
        """Takes the envs' last step, in which `present` bool [N, A] acted.

        Returns:
            The episodes that it ended, by env.
        """
        self._returns += self._envs.rewards
        self._acted += present
        self._length += 1
        over = self._envs.episode_over
        return {n: self._finish(n) for n in np.flatnonzero(over).tolist()} if over.any() else {}

    def _finish(self, n: int) -> Episode:
        now = time.perf_counter()
        episode = Episode(
            length=int(self._length[n]),
            returns=self._returns[n].copy(),
            acted=self._acted[n].copy(),
            duration_s=now - self._started[n],
            success=int(self._envs.success[n]),
        )
        self._returns[n], self._acted[n], self._length[n] = 0.0, 0, 0
        self._started[n] = now
        return episode


def smoothing_window(config: AlgorithmConfig) -> int:
    """Episodes that one env runner averages over, as RLlib's `MultiAgentEnvRunner` does."""
    episodes = config.metrics_num_episodes_for_smoothing
    return max(1, math.ceil(episodes / (config.num_env_runners or 1)))
