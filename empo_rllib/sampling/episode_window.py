"""Means over the last N episodes, counted in the order in which the episodes started.

Counting by when episodes end favours short ones: of the episodes that start together, the short
ones are counted first, and the long ones at the end of a session never. So an episode enters the
window once every episode that started before it, in any env of any env runner, has ended. Those
that start together enter together. What has entered is then a set that was fixed by when episodes
started, which says nothing about how long they last.

- **Clock.** The start of an episode is the training iteration in which its env was reset, and the
  number of steps that its env runner had taken in that iteration. It needs no clocks that agree
  between nodes, and an env runner that is slower (IMPALA and APPO do not wait for one) falls
  behind by its running episodes only.
- **Losses.** When an env runner is lost or a session ends, the running episodes never end. Those
  that their env runner started later and that did end are discarded with them; kept, they would
  be the short ones. Envs start anew, and their first episodes are waited for as at the beginning.
- **Patience.** An episode may have no end. When `PATIENCE` ended episodes per env wait, the window
  no longer waits for the oldest running ones, and they enter when they end.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from empo_rllib.acting.episodes import FinishedEpisode

PATIENCE = 100
SAMPLED_EPISODES = "sampled_episodes"
"""Where env runners log `SampledEpisodes` among RLlib's metrics."""

_Time = tuple[float, int]


@dataclass(frozen=True, slots=True)
class EpisodeNumbers:
    """The numbers of one episode.

    Attributes:
        length: env steps.
        agent_returns: undiscounted, of the agents that acted.
        policy_returns: the sums over the agents of each policy that acted.
        success: None where the environment does not tell.
    """

    length: int
    agent_returns: dict[str, float]
    policy_returns: dict[str, float]
    success: float | None


@dataclass(frozen=True, slots=True)
class SampledEpisodes:
    """The episodes that ended in one call of an env runner's `sample`.

    Attributes:
        worker_index: the env runner's.
        life: when its envs were last reset all at once; increases.
        clock: steps of all its envs since then, before this call.
        steps: steps of all its envs in this call.
        num_envs: its envs.
        agent_steps: in this call, over all agents: actions of which is known what came of them.
        ended: env, steps of this call up to the episode's end, and the episode.
    """

    worker_index: int
    life: int
    clock: int
    steps: int
    num_envs: int
    agent_steps: int
    ended: list[tuple[int, int, EpisodeNumbers]]


@dataclass
class _EnvRunner:
    """What is known of an env runner's envs.

    Attributes:
        life: as in `SampledEpisodes`.
        clock: steps since the start of that life.
        starts: of the running episodes, by env.
        uncounted: envs whose running episode started at an unknown time.
    """

    life: int
    clock: int
    starts: list[_Time]
    uncounted: set[int] = field(default_factory=set)


class EpisodeWindow:
    """The last `size` episodes in the order of their starts, and the `size` before them."""

    def __init__(self, size: int, state: Iterable[Mapping[str, Any]] = ()) -> None:
        """Starts empty, or with the `state` of an earlier session's window."""
        self.size = max(1, size)
        self._entered = deque(
            (EpisodeNumbers(**episode) for episode in state), maxlen=2 * self.size
        )
        self._env_runners: dict[int, _EnvRunner] = {}
        # A heap of (start, worker index, env, life, episode).
        self._waiting: list[tuple[_Time, int, int, int, EpisodeNumbers]] = []

    def state(self) -> list[dict[str, Any]]:
        """Returns what a later session goes on with, as JSON.

        Episodes that wait are no part of it: the session's end discards them.
        """
        return [asdict(episode) for episode in self._entered]

    def add(
        self, iteration: int, samples: Iterable[SampledEpisodes], healthy: Collection[int]
    ) -> None:
        """Takes the episodes of one training iteration.

        Args:
            iteration: increases with every call.
            samples: in any order.
            healthy: worker indices of the env runners that are not lost.
        """
        for worker_index in self._env_runners.keys() - set(healthy):
            self._lose(worker_index)
        steps: Counter[int] = Counter()
        for sample in sorted(samples, key=lambda s: (s.worker_index, s.life, s.clock)):
            self._take(sample, iteration, steps[sample.worker_index])
            steps[sample.worker_index] += sample.steps
        self._enter()

    @property
    def is_full(self) -> bool:
        """Whether there are as many episodes as the mean is to be over."""
        return len(self._entered) >= self.size

    def columns(self) -> dict[str, float]:
        """Returns the numbers of the window; none while it is empty."""
        return episode_columns(list(self._entered)[-self.size :])

    def earlier_return_mean(self) -> float | None:
        """Returns the mean return of the window before this one; None before that is full."""
        if len(self._entered) < 2 * self.size:
            return None
        return episode_columns(list(self._entered)[: self.size])["episode_return_mean"]

    def _take(self, sample: SampledEpisodes, iteration: int, before: int) -> None:
        worker_index = sample.worker_index
        env_runner = self._env_runners.get(worker_index)
        if env_runner is None or (env_runner.life, env_runner.clock) != (sample.life, sample.clock):
            self._lose(worker_index)
            starts: list[_Time] = [(iteration, before)] * sample.num_envs
            # Envs that run already were reset when nobody looked.
            uncounted = set(range(sample.num_envs)) if sample.clock else set()
            env_runner = _EnvRunner(sample.life, sample.clock, starts, uncounted)
            self._env_runners[worker_index] = env_runner
        for env, step, episode in sample.ended:
            if env in env_runner.uncounted:
                env_runner.uncounted.remove(env)
            else:
                start = env_runner.starts[env]
                heapq.heappush(self._waiting, (start, worker_index, env, sample.life, episode))
            env_runner.starts[env] = (iteration, before + step)
        env_runner.clock += sample.steps

    def _lose(self, worker_index: int) -> None:
        """Discards the running episodes of an env runner and all that it started after them."""
        env_runner = self._env_runners.pop(worker_index, None)
        if env_runner is not None:
            lost = min(env_runner.starts)
            self._waiting = [
                waiting
                for waiting in self._waiting
                if (waiting[1], waiting[3]) != (worker_index, env_runner.life) or waiting[0] < lost
            ]
            heapq.heapify(self._waiting)

    def _enter(self) -> None:
        starts = [start for one in self._env_runners.values() for start in one.starts]
        oldest_running = min(starts, default=(np.inf, 0))
        while self._waiting and (
            self._waiting[0][0] < oldest_running or len(self._waiting) > PATIENCE * len(starts)
        ):
            self._entered.append(heapq.heappop(self._waiting)[-1])


def numbers_of(episode: FinishedEpisode, policy_of: Mapping[str, str]) -> EpisodeNumbers:
    """Returns the numbers of an episode, with the policy of each agent."""
    policy_returns: dict[str, float] = {}
    for agent, value in episode.returns.items():
        policy = policy_of[agent]
        policy_returns[policy] = policy_returns.get(policy, 0.0) + value
    success = None if episode.success is None else float(episode.success)
    return EpisodeNumbers(episode.length, episode.returns, policy_returns, success)


def episode_columns(episodes: Sequence[EpisodeNumbers]) -> dict[str, float]:
    """Returns the columns that describe a set of episodes; none for an empty set.

    An agent's or a policy's mean return is over the episodes in which it acted.
    """
    if not episodes:
        return {}
    returns = [sum(episode.agent_returns.values()) for episode in episodes]
    columns = {
        "episode_return_mean": float(np.mean(returns)),
        "episode_return_min": min(returns),
        "episode_return_max": max(returns),
        "episode_length_mean": float(np.mean([episode.length for episode in episodes])),
    }
    told = [episode.success for episode in episodes if episode.success is not None]
    if told:
        columns["success_rate"] = float(np.mean(told))
    columns |= _means("policy_return_mean", [episode.policy_returns for episode in episodes])
    return columns | _means("agent_return_mean", [episode.agent_returns for episode in episodes])


def _means(name: str, returns: Sequence[Mapping[str, float]]) -> dict[str, float]:
    by_key: dict[str, list[float]] = {}
    for episode in returns:
        for key, value in episode.items():
            by_key.setdefault(key, []).append(value)
    return {f"{name}/{key}": float(np.mean(by_key[key])) for key in sorted(by_key)}
