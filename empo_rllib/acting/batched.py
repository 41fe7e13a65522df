"""Playing episodes in kernels: the numbers of `play.play_episodes`, many times faster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from empo_rllib.acting.episodes import EpisodeRecorder, FinishedEpisode
from empo_rllib.acting.teams import ActingPolicies
from empo_rllib.envs.batched.seeded import SeededMultiGrid


def play_batched_episodes(
    team: ActingPolicies, grids: SeededMultiGrid, seeds: Iterable[int], greedy: bool
) -> list[FinishedEpisode]:
    """Plays one episode per seed to its end.

    Returns:
        The finished episodes in the order of the seeds.
    """
    waiting = iter(seeds)
    recorder, players = EpisodeRecorder(grids), _Players(team, grids, greedy)

    def begin(copies: Iterable[int]) -> None:
        """Starts the next seed in each of `copies`, as long as there are any."""
        started = dict(zip(copies, waiting, strict=False))
        if started:
            grids.begin(list(started), list(started.values()))
            for n, seed in started.items():
                recorder.seeds[n] = seed

    begin(range(grids.num_envs))
    finished: list[FinishedEpisode] = []
    while grids.present.any():
        present = grids.present.copy()
        grids.step([players.choose(present)])
        over = recorder.add_step(present, grids.paid, running=np.asarray(present.any(1)))
        finished += over.values()
        begin(over)
    return sorted(finished, key=lambda episode: episode.seed or 0)


class _Players:
    """The policies of a team in all copies."""

    def __init__(self, team: ActingPolicies, grids: SeededMultiGrid, greedy: bool) -> None:
        self._team, self._grids, self._greedy = team, grids, greedy
        columns: dict[str, list[int]] = {}
        for column, agent in enumerate(grids.agents):
            columns.setdefault(team.of_agent[agent], []).append(column)
        self._columns = {name: np.array(found) for name, found in columns.items()}

    def choose(self, present: np.ndarray) -> np.ndarray:
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
