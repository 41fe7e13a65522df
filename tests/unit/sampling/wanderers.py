"""An environment in arrays in which agents come, wait, leave and are cut off by chance."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from empo_rllib.envs.vector_env import VectorEnv, group_agents

N, A = 3, 3


class Wanderers(VectorEnv):
    """Agents wait, leave and are cut off by chance; each observation is a number of its own.

    Attributes:
        log: for each step who acted, rewards, terminated, truncated, episode_over, what was seen
            before it and what was seen last.
    """

    def __init__(self, seed: int, pauses: float) -> None:
        agents = [f"agent_{column}" for column in range(A)]
        seen, acts = spaces.Box(0.0, 1e6, (1,)), spaces.Discrete(2)
        groups = group_agents(agents, dict.fromkeys(agents, seen), dict.fromkeys(agents, acts))
        self._allocate(N, agents, groups)
        self.there = np.zeros_like(self.present)
        self._rng, self._pauses, self._count = np.random.default_rng(seed), pauses, 0.0
        self.log: list[tuple] = []

    def reset(self, seed=None):
        for n in range(N):
            self._begin(n)

    def step(self, actions):
        rng, before = self._rng, (self.present.copy(), self.observations[0][0].copy())
        self.rewards[:] = np.where(self.there, rng.normal(size=(N, A)), 0)
        leaves = self.there & (rng.random((N, A)) < 0.15)
        self.terminated[:] = leaves & (rng.random((N, A)) < 0.7)
        self.truncated[:] = leaves & ~self.terminated
        cut = rng.random((N, 1)) < 0.05
        self.truncated |= cut & self.there & ~leaves
        self.there &= ~(leaves | cut)
        self.episode_over[:] = ~self.there.any(1)
        self.present[:] = self.there & (rng.random((N, A)) >= self._pauses)
        self._see(self.observations[0][0], self.present | leaves)
        self._see(self.final_observations[0][0], np.ones((N, A), bool))
        ends = self.terminated.copy(), self.truncated.copy(), self.episode_over.copy()
        last = self.observations[0][0].copy(), self.final_observations[0][0].copy()
        self.log.append((*before, self.rewards.copy(), *ends, *last))
        for n in np.flatnonzero(self.episode_over):
            self._begin(n)

    def close(self):
        pass

    def _begin(self, n):
        self.there[n] = self.present[n] = True
        self._see(self.observations[0][0], np.arange(N)[:, None] == n)

    def _see(self, leaf, who):
        count = np.broadcast_to(who, (N, A)).sum()
        leaf[np.broadcast_to(who, (N, A))] = self._count + np.arange(count)[:, None]
        self._count += count
