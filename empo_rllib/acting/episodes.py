"""Finished episodes: one record for training, evaluation and cross-play."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from empo_rllib.envs.vector_env import VectorEnv


@dataclass(frozen=True)
class FinishedEpisode:
    """The result of one episode.

    Attributes:
        seed: what the environment was reset with; None in training.
        returns: the sum of rewards, undiscounted, of every agent that took part.
        lengths: in how many steps each of them acted.
        length: env steps.
        success: whether it succeeded; None where the environment does not tell.
        cut: whether it was cut at a limit that is not the environment's.
    """

    seed: int | None
    returns: dict[str, float]
    lengths: dict[str, int]
    length: int
    success: bool | None
    cut: bool = False

    @property
    def episode_return(self) -> float:
        """The sum over agents."""
        return sum(self.returns.values())

    def to_dict(self) -> dict[str, Any]:
        """Returns it as result files tell it."""
        return {
            "seed": self.seed,
            "episode_return": self.episode_return,
            "episode_length": self.length,
            "success": self.success,
            "cut": self.cut,
            "agent_return": self.returns,
            "agent_length": self.lengths,
        }

    def env_steps(self) -> int:
        """As `MultiAgentEpisode.env_steps`, which RLlib calls."""
        return self.length

    def agent_steps(self) -> int:
        """As `MultiAgentEpisode.agent_steps`, which RLlib calls."""
        return sum(self.lengths.values())


class EpisodeRecorder:
    """Adds up the running episodes of a `VectorEnv` that has just been reset.

    Attributes:
        seeds: of the running episodes, by env; to be set by who knows them.
        life: when the envs were reset, in nanoseconds.
        steps: of all envs since then.
    """

    def __init__(self, envs: VectorEnv) -> None:
        self._envs = envs
        shape = (envs.num_envs, len(envs.agents))
        self._returns = np.zeros(shape)
        self._acted = np.zeros(shape, np.int64)
        self._length = np.zeros(envs.num_envs, np.int64)
        self.life, self.steps = time.time_ns(), 0
        self.seeds: list[int | None] = [None] * envs.num_envs

    def add_step(
        self, present: np.ndarray, rewards: np.ndarray, running: np.ndarray
    ) -> dict[int, FinishedEpisode]:
        """Takes the envs' last step.

        Args:
            present: bool [N, A]: who acted in it.
            rewards: [N, A]: what it paid.
            running: bool [N]: the envs that took it.

        Returns:
            The episodes that it ended, by env.
        """
        self._returns += rewards
        self._acted += present
        self._length += running
        self.steps += 1
        over = np.flatnonzero(self._envs.episode_over & running)
        return {n: self._finish(n) for n in over.tolist()}

    def _finish(self, n: int) -> FinishedEpisode:
        agents = self._envs.agents
        returns = dict(zip(agents, self._returns[n].tolist(), strict=True))
        acted = zip(agents, self._acted[n].tolist(), strict=True)
        lengths = {agent: steps for agent, steps in acted if steps}
        success = int(self._envs.success[n])
        episode = FinishedEpisode(
            seed=self.seeds[n],
            returns={agent: returns[agent] for agent in lengths},
            lengths=lengths,
            length=int(self._length[n]),
            success=None if success < 0 else bool(success),
        )
        self._returns[n], self._acted[n], self._length[n] = 0.0, 0, 0
        return episode
