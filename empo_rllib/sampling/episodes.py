"""What became of each episode: lengths and returns, for the metrics."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from empo_rllib.envs.vector_env import VectorEnv
from empo_rllib.sampling.episode_window import FinishedEpisode


@dataclass(frozen=True)
class Episode:
    """A finished episode.

    Attributes:
        length: env steps.
        returns: float64 [A], undiscounted; 0 for agents that never acted.
        acted: int64 [A], agent steps.
        success: 1, 0, or -1 where the environment does not tell.
    """

    length: int
    returns: np.ndarray
    acted: np.ndarray
    success: int

    def env_steps(self) -> int:
        """As `MultiAgentEpisode.env_steps`."""
        return self.length

    def agent_steps(self) -> int:
        """As `MultiAgentEpisode.agent_steps`."""
        return int(self.acted.sum())

    def numbers(self, agents: Mapping[str, int], policy_of: Mapping[str, str]) -> FinishedEpisode:
        """Returns what the metrics are made of.

        Args:
            agents: the column of each agent.
            policy_of: the policy of each agent.
        """
        agent_returns, policy_returns = {}, dict[str, float]()
        returns, acted = self.returns.tolist(), self.acted.tolist()
        for agent, column in agents.items():
            if acted[column]:
                agent_returns[agent] = returns[column]
                policy = policy_of[agent]
                policy_returns[policy] = policy_returns.get(policy, 0.0) + returns[column]
        success = None if self.success < 0 else float(self.success)
        return FinishedEpisode(self.length, agent_returns, policy_returns, success)


class EpisodeRecorder:
    """Adds up the running episodes of a `VectorEnv` that has just been reset.

    Attributes:
        life: when that was, in nanoseconds.
        steps: of all envs since then.
    """

    def __init__(self, envs: VectorEnv) -> None:
        self.life = time.time_ns()
        self.steps = 0
        self._envs = envs
        shape = (envs.num_envs, len(envs.agents))
        self._returns = np.zeros(shape)
        self._acted = np.zeros(shape, np.int64)
        self._length = np.zeros(envs.num_envs, np.int64)

    def add_step(self, present: np.ndarray) -> dict[int, Episode]:
        """Takes the envs' last step, in which `present` bool [N, A] acted.

        Returns:
            The episodes that it ended, by env.
        """
        self._returns += self._envs.rewards
        self._acted += present
        self._length += 1
        self.steps += 1
        over = self._envs.episode_over
        return {n: self._finish(n) for n in np.flatnonzero(over).tolist()} if over.any() else {}

    def _finish(self, n: int) -> Episode:
        episode = Episode(
            length=int(self._length[n]),
            returns=self._returns[n].copy(),
            acted=self._acted[n].copy(),
            success=int(self._envs.success[n]),
        )
        self._returns[n], self._acted[n], self._length[n] = 0.0, 0, 0
        return episode
