"""Playing episodes in kernels: the numbers of `episodes.play_episodes`, many times faster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from empo_rllib.envs.batched.seeded import SeededMultiGrid
from empo_rllib.results.evaluation import PlayedEpisode

if TYPE_CHECKING:
    from empo_rllib.results.policy import ActingPolicies


def play_batched_episodes(
    team: ActingPolicies, grids: SeededMultiGrid, seeds: Iterable[int], greedy: bool
) -> list[PlayedEpisode]:
    """Plays one episode per seed to its end.

    Returns:
        The finished episodes in the order of the seeds.
    """
    waiting = iter(seeds)
    batch = _Batch(team, grids, greedy)
    batch.begin(range(grids.num_envs), waiting)
    finished: list[PlayedEpisode] = []
    while grids.present.any():
        over = batch.step()
        finished += [batch.finished(n) for n in over]
        batch.begin(over, waiting)
    return sorted(finished, key=lambda episode: episode.seed)


class _Batch:
    """The episodes under way, one in each copy."""

    def __init__(self, team: ActingPolicies, grids: SeededMultiGrid, greedy: bool) -> None:
        self._team, self._grids, self._greedy = team, grids, greedy
        shape = grids.num_envs, len(grids.agents)
        self._seeds = np.zeros(shape[0], np.int64)
        self._lengths = np.zeros(shape[0], np.int64)
        self._returns = np.zeros(shape)
        self._acted = np.zeros(shape, np.int64)
        columns: dict[str, list[int]] = {}
        for column, agent in enumerate(grids.agents):
            columns.setdefault(team.of_agent[agent], []).append(column)
        self._columns = {name: np.array(found) for name, found in columns.items()}

    def begin(self, copies: Sequence[int], seeds: Iterable[int]) -> None:
        """Starts the next of `seeds` in each of `copies`, as long as there are any."""
        started = list(zip(copies, seeds, strict=False))
        if not started:
            return
        chosen = [n for n, _ in started]
        self._seeds[chosen] = [seed for _, seed in started]
        for numbers in (self._lengths, self._returns, self._acted):
            numbers[chosen] = 0
        self._grids.begin(chosen, self._seeds[chosen].tolist())

    def step(self) -> list[int]:
        """Plays a step in all copies; returns those whose episode it has ended."""
        grids = self._grids
        present = grids.present.copy()
        live = present.any(1)
        grids.step([self._choose(present)])
        self._lengths += live
        self._acted += present
        self._returns += grids.paid
        return np.flatnonzero(live & grids.episode_over).tolist()

    def finished(self, n: int) -> PlayedEpisode:
        """Returns what came out of the episode in copy `n`."""
        agents = self._grids.agents
        return PlayedEpisode(
            seed=int(self._seeds[n]),
            returns=dict(zip(agents, self._returns[n].tolist(), strict=True)),
            lengths=dict(zip(agents, self._acted[n].tolist(), strict=True)),
            length=int(self._lengths[n]),
            success=bool(self._grids.success[n]),
        )

    def _choose(self, present: np.ndarray) -> np.ndarray:
        """Returns the actions [N, A] of those who are `present`."""
        actions = np.zeros(present.shape, np.int64)
        for name, columns in self._columns.items():
            copies, positions = np.nonzero(present[:, columns])
            seats = columns[positions]
            if len(copies):
                leaves = [leaf[copies, seats] for leaf in self._grids.observations[0]]
                actions[copies, seats] = self._act(name, leaves, seats)
        return actions

    def _act(self, name: str, leaves: list[np.ndarray], seats: np.ndarray) -> np.ndarray:
        """Returns what a policy does on rows of observations, int64 [B].

        A greedy policy does the same on the same: it is asked once.
        """
        if not self._greedy:
            return self._ask(name, leaves, seats)
        first, kind = distinct([*leaves, seats])
        return self._ask(name, [leaf[first] for leaf in leaves], seats[first])[kind]

    def _ask(self, name: str, leaves: list[np.ndarray], seats: np.ndarray) -> np.ndarray:
        nest, team = self._grids.groups[0].leaves.unflatten, self._team
        agents = [self._grids.agents[seat] for seat in seats]
        policy = team.by_name[name]
        if not any(agent in team.adapters for agent in agents):
            return np.asarray(policy.choose(nest(leaves), self._greedy))
        rows: list[Any] = [nest([leaf[row] for leaf in leaves]) for row in range(len(seats))]
        adapted = [team.adapted(a, row) for a, row in zip(agents, rows, strict=True)]
        return np.asarray(policy.act(adapted, self._greedy))


def distinct(arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns which rows differ in any of `arrays` [B, ...].

    Returns:
        first: int64 [U], one row of each kind.
        kind: int64 [B], where the row's kind is in `first`.
    """
    num_rows = len(arrays[0])
    parts = [np.ascontiguousarray(array).reshape(num_rows, -1).view(np.uint8) for array in arrays]
    rows = np.ascontiguousarray(np.concatenate(parts, axis=1))
    keys = rows.view(np.dtype((np.void, rows.shape[1]))).ravel()
    _, first, kind = np.unique(keys, return_index=True, return_inverse=True)
    return first, kind
