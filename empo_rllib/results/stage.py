"""Where episodes are played: in kernels where there are any, otherwise in Python environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from empo_rllib.config.sections import EnvConfig
from empo_rllib.envs.batched import why_not_batched
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.envs.registry import make_env
from empo_rllib.results.episodes import play_episodes
from empo_rllib.results.evaluation import PlayedEpisode

if TYPE_CHECKING:
    from empo_rllib.results.policy import ActingPolicies

# More environments make larger batches, which pays until about so many.
MAX_PYTHON_ENVS = 32
MAX_KERNEL_ENVS = 256


class Stage:
    """Copies of an environment that play whole episodes.

    Args:
        env: the environment.
        episodes: how many will be played at most.
        played_in: `kernels`, `python`, or None for the faster that there is. Kernels play no
            recurrent policies.

    Attributes:
        env: one instance, which is not played in.
        played_in: which it is.
        num_envs: how many copies there are.

    Raises:
        EnvError: the environment cannot be made with these arguments.
    """

    def __init__(
        self,
        env: EnvConfig,
        episodes: int,
        played_in: Literal["kernels", "python"] | None = None,
    ) -> None:
        self._config = env
        self.env: Any = self._make()
        self._open: list[Any] = [self.env]
        if played_in is None:
            played_in = "python" if why_not_batched(self.env) else "kernels"
        self.played_in: Literal["kernels", "python"] = played_in
        self.num_envs = min(
            episodes, MAX_KERNEL_ENVS if played_in == "kernels" else MAX_PYTHON_ENVS
        )
        self._copies: Any = None

    def play(
        self, team: ActingPolicies, seeds: Sequence[int], greedy: bool
    ) -> Sequence[PlayedEpisode]:
        """Plays one episode per seed to its end; returns them in the order of the seeds."""
        if self.played_in == "kernels":
            if team.recurrent:
                raise ValueError("kernels play no recurrent policies")
            from empo_rllib.results.batched_episodes import play_batched_episodes

            return play_batched_episodes(team, self._grids(), seeds, greedy)
        return [episode.played() for episode in play_episodes(team, self._envs(), seeds, greedy)]

    def close(self) -> None:
        """Closes all environments."""
        for env in self._open:
            env.close()

    def _make(self) -> Any:
        return make_env(self._config.id, self._config.num_agents, **self._config.kwargs)

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
                self._copies.append(ParallelMultiAgentEnv(self._make()))
                self._open.append(self._copies[-1])
        return self._copies
