"""Where episodes are played: in kernels where there are any, otherwise in Python environments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from pettingzoo import ParallelEnv

from empo_rllib.acting.episodes import FinishedEpisode
from empo_rllib.acting.play import play_episodes
from empo_rllib.acting.teams import ActingPolicies
from empo_rllib.envs.batched import why_not_batched
from empo_rllib.envs.blame import blaming_env
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv, number_copies
from empo_rllib.envs.step_limit import cut_limit

# More environments make larger batches, which pays until about so many.
MAX_ENVS = {"batched": 256, "python": 32}


class Stage:
    """Copies of an environment that play whole episodes.

    Args:
        make: makes the environment.
        episodes: how many will be played at most.
        teams: who will play, chance aside. Kernels play no recurrent policies.
        allow_infinite_observations: see `ParallelMultiAgentEnv`.

    Attributes:
        env: one instance, which is not played in.
        played_in: `batched` (kernels) or `python`.
        num_envs: how many copies there are.
        limit: env steps after which an episode is cut that does not end.

    Raises:
        EnvError: the environment cannot be made.
    """

    def __init__(
        self,
        make: Callable[[], ParallelEnv],
        episodes: int,
        teams: Sequence[ActingPolicies] = (),
        allow_infinite_observations: bool = False,
    ) -> None:
        self._make = make
        self._allow_infinite = allow_infinite_observations
        self.env: Any = make()
        self._open: list[Any] = [self.env]
        in_python = any(team.recurrent for team in teams) or why_not_batched(self.env)
        self.played_in: Literal["batched", "python"] = "python" if in_python else "batched"
        self.num_envs = min(episodes, MAX_ENVS[self.played_in])
        self.limit = cut_limit(self.env)
        self._copies: Any = None

    def play(
        self, team: ActingPolicies, seeds: Sequence[int], greedy: bool
    ) -> list[FinishedEpisode]:
        """Plays one episode per seed to its end or to `limit`; returns them in their order."""
        if self.played_in == "batched":
            from empo_rllib.acting.batched import play_batched_episodes

            with blaming_env(self.env, "reset()"):
                return play_batched_episodes(team, self._grids(), seeds, greedy)
        episodes = play_episodes(team, self._envs(), seeds, greedy, self.limit)
        return [episode.finished() for episode in episodes]

    def close(self) -> None:
        """Closes all environments."""
        for env in self._open:
            env.close()

    def _grids(self) -> Any:
        from empo_rllib.envs.batched.seeded import SeededMultiGrid

        if self._copies is None:
            self._copies = SeededMultiGrid(self._make, self.num_envs)
            self._open.append(self._copies)
        return self._copies

    def _envs(self) -> Any:
        if self._copies is None:
            self._copies = []
            for _ in range(self.num_envs):
                env = ParallelMultiAgentEnv(
                    self._make(), allow_infinite_observations=self._allow_infinite
                )
                self._copies.append(env)
                self._open.append(env)
            number_copies(self._copies)
        return self._copies
