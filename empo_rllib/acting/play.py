"""Playing whole episodes in Python environments."""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from empo_rllib.acting.episodes import FinishedEpisode
from empo_rllib.acting.memory import Memory
from empo_rllib.acting.teams import ActingPolicies
from empo_rllib.envs.blame import blaming_env
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.envs.step_limit import EPISODE_LIMIT
from empo_rllib.envs.success import episode_success

_LOG = logging.getLogger(__name__)
# When to say that no episode has ended yet.
_SHARE_OF_LIMIT = 5


class LiveEpisode:
    """An episode in a Python environment, under way or over.

    Args:
        env: the environment; it is reset.
        seed: what with.
        limit: env steps after which it is cut; None: it is played to its end.

    Attributes:
        seed: what the environment was reset with.
        observations: of the agents that act next; empty when the episode is over.
        actions: the last action of every agent that has acted.
        returns: the sum of rewards of every agent that has taken part.
        lengths: the steps that every agent has acted in.
        memories: what recurrent policies remember of each agent.
        length: env steps so far.
        over: whether it has ended, or was cut.
        cut: whether it was cut at `limit`.
    """

    def __init__(self, env: ParallelMultiAgentEnv, seed: int, limit: int | None = None) -> None:
        self.env = env
        self.seed = seed
        self.limit = limit
        self.actions: dict[str, Any] = {}
        self.lengths: Counter[str] = Counter()
        self.memories: dict[str, Memory] = {}
        self.length = 0
        with self._blaming_env("reset()"):
            self.observations, self._infos = env.reset(seed=seed)
        self.returns = dict.fromkeys(self.observations, 0.0)
        self.over = not env.agents
        self.cut = False

    def step(self, actions: dict[str, Any]) -> None:
        """Plays one step."""
        with self._blaming_env("step()"):
            observations, rewards, terminated, truncated, infos = self.env.step(actions)
        self.actions.update(actions)
        self.lengths.update(dict.fromkeys(actions, 1))
        self._infos.update(infos)
        self.length += 1
        for agent, reward in rewards.items():
            self.returns[agent] = self.returns.get(agent, 0.0) + reward
        self.over = terminated["__all__"] or truncated["__all__"]
        self.cut = not self.over and self.length == self.limit
        self.over |= self.cut
        self.observations = {
            agent: seen
            for agent, seen in observations.items()
            if not (self.over or terminated.get(agent) or truncated.get(agent))
        }

    def _blaming_env(self, call: str) -> AbstractContextManager[None]:
        when = f"in step {self.length + 1} of the episode" if call == "step()" else "of the episode"
        return blaming_env(self.env, call, f"{when} with seed {self.seed}")

    @property
    def success(self) -> bool | None:
        """Whether it succeeded; None while it goes on, or where the environment does not tell."""
        return episode_success(self._infos) if self.over else None

    def finished(self) -> FinishedEpisode:
        """Returns its record."""
        return FinishedEpisode(
            self.seed, dict(self.returns), dict(self.lengths), self.length, self.success, self.cut
        )


def play_episodes(
    policies: ActingPolicies,
    envs: Sequence[ParallelMultiAgentEnv],
    seeds: Iterable[int],
    greedy: bool,
    limit: int = EPISODE_LIMIT,
) -> list[LiveEpisode]:
    """Plays one episode per seed to its end or to `limit` env steps, on all `envs` in lockstep.

    Which episodes are played depends on the seeds alone: unlike "until so many episodes have
    ended", this does not prefer short ones.

    Returns:
        The finished episodes in the order of the seeds.
    """
    waiting = iter(seeds)
    live = [LiveEpisode(env, seed, limit) for env, seed in zip(envs, waiting, strict=False)]
    episodes = list(live)
    while live:
        playing = [episode for episode in live if not episode.over]
        act_in(playing, policies, greedy)
        started = [
            LiveEpisode(e.env, seed, limit) for e, seed in zip(_over(live), waiting, strict=False)
        ]
        is_long = episodes[0].length == limit // _SHARE_OF_LIMIT
        if is_long and not any(episode.over for episode in episodes):
            warn_of_endless_episodes(limit)
        live = [episode for episode in live if not episode.over] + started
        episodes += started
    return sorted(episodes, key=lambda episode: episode.seed)


def act_in(episodes: Sequence[LiveEpisode], policies: ActingPolicies, greedy: bool) -> None:
    """Plays one step of each of some episodes under way."""
    observations = [episode.observations for episode in episodes]
    actions = policies.act(observations, greedy, [episode.memories for episode in episodes])
    for episode, chosen in zip(episodes, actions, strict=True):
        episode.step(chosen)


@functools.cache
def warn_of_endless_episodes(limit: int) -> None:
    """Says once in a process why playing takes long."""
    steps = limit // _SHARE_OF_LIMIT
    _LOG.warning(
        "No episode has ended after %s env steps. They are cut after %s.",
        *(f"{number:,}" for number in (steps, limit)),
    )


def _over(episodes: Iterable[LiveEpisode]) -> Iterable[LiveEpisode]:
    return [episode for episode in episodes if episode.over]
