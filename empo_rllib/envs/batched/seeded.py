"""Episodes of given seeds, played by kernels exactly as the Python environment plays them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from empo_rllib.envs.batched.multigrid import BatchedMultiGrid
from empo_rllib.envs.multigrid import MultiGridParallelEnv

#: Steps whose orders of action are drawn at a time.
_ORDERS = 64


class SeededMultiGrid(BatchedMultiGrid):
    """N copies that each play the episode that `reset(seed)` of the Python environment starts.

    Kernels draw layouts and orders of action from streams of their own. Here both come from where
    the Python environment has them, so that the same actions give the same numbers to the last
    digit: the layout is copied from an environment reset with the seed, and the order in which
    agents act is drawn, step by step, from the generator that this reset has made.

    A copy whose episode is over waits, with nobody present, for `begin`.

    Args:
        make: makes the Python environment.
        num_envs: N.

    Attributes:
        paid: float64 [N, A]: `rewards` in the environment's own precision.
    """

    def __init__(self, make: Callable[[], MultiGridParallelEnv], num_envs: int) -> None:
        self._make = make
        super().__init__(make, num_envs)
        shape = num_envs, len(self.agents)
        self.paid = np.zeros(shape)
        self._generators = [np.random.default_rng()] * num_envs
        self._orders = np.zeros((num_envs, _ORDERS, shape[1]), np.int64)

    def reset(self, seed: int | None = None) -> None:
        """Begins the episodes `seed`, `seed + 1` and so on in the copies; None stands for 0."""
        first = seed or 0
        self.begin(range(self.num_envs), range(first, first + self.num_envs))

    def begin(self, copies: Sequence[int], seeds: Sequence[int]) -> None:
        """Starts an episode in each of `copies`, as `reset(seed)` does in Python."""
        chosen = np.zeros(self.num_envs, bool)
        for n, seed in zip(copies, seeds, strict=True):
            template = self._idle_template()
            template.lay_out(seed)
            self._load(n, template)
            if n not in self._in_python:  # which draws from it itself
                self._generators[n] = template.env.np_random  # a reset makes a new one
            chosen[n] = True
        self._look(chosen)

    def step(self, actions: Sequence[np.ndarray]) -> None:
        """Plays one step in every copy; those that are over stay so."""
        acted = self.present.copy()
        live = np.asarray(acted.any(axis=1))
        self._worlds.orders[:] = self._next_orders(live)
        self._play(actions, draw_order=False)
        self.paid[:] = np.where(acted, self._worlds.agents["reward"], 0.0)

    def _prepare_layouts(self, make: Callable[[], MultiGridParallelEnv]) -> None:
        """One Python environment is enough: it is read before the next seed resets it."""

    def _idle_template(self) -> MultiGridParallelEnv:
        """Returns a Python environment that plays no episode itself."""
        busy = self._in_python.values()
        idle = next((template for template in self._templates if template not in busy), None)
        if idle is None:
            idle = self._make()
            self._templates.append(idle)
        return idle

    def _start(self, chosen: np.ndarray, seeds: Sequence[int] | None = None) -> None:
        """Nothing follows an episode by itself."""

    def _next_orders(self, live: np.ndarray) -> np.ndarray:
        """Returns who acts when in the coming step, int64 [N, A]; see `MultiGridEnv.step`."""
        place = self._worlds.episodes["step"] % _ORDERS
        for n in np.flatnonzero(live & (place == 0)).tolist():
            # The same numbers as drawn step by step.
            drawn = self._generators[n].random((_ORDERS, len(self.agents)))
            self._orders[n] = drawn.argsort(axis=-1)
        return self._orders[np.arange(self.num_envs), place]
