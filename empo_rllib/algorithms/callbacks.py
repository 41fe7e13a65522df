"""RLlib callbacks that every experiment runs with."""

from __future__ import annotations

import time
from typing import Any

from ray.rllib.callbacks.callbacks import RLlibCallback

from empo_rllib.envs.multi_agent_env import number_copies
from empo_rllib.envs.success import episode_success
from empo_rllib.sampling.episode_window import (
    SAMPLED_EPISODES,
    EpisodeNumbers,
    SampledEpisodes,
)


class EpisodeMetrics(RLlibCallback):
    """Logs the numbers of all episodes of RLlib's own env runner.

    RLlib calls one instance for each env runner. Its envs step together: a step is over when env
    0 has stepped, or was reset, once more.
    """

    _life: int
    _clock: int
    _steps: int
    _ended: list[tuple[int, int, EpisodeNumbers]]

    def __init__(self) -> None:
        self._running: set[int] = set()
        self._start_life()

    def on_environment_created(self, *, env_runner: Any, env: Any, **kwargs: Any) -> None:
        copies = [one.unwrapped for one in env.envs]
        number_copies(copies)
        for n, copy in enumerate(copies):
            # RLlib's seeds are sums: most copies of an env runner have one of its neighbour's.
            copy.seed_key = (env_runner.worker_index or 0, n)

    def on_episode_created(self, *, env_index: int, **kwargs: Any) -> None:
        if env_index in self._running:  # all envs are reset, whatever they were at
            self._start_life()
        self._running.add(env_index)

    def on_episode_start(self, *, env_index: int, **kwargs: Any) -> None:
        self._steps += env_index == 0

    def on_episode_step(self, *, env_index: int, **kwargs: Any) -> None:
        self._steps += env_index == 0

    def on_episode_end(
        self, *, episode: Any, prev_episode_chunks: list[Any], env_index: int, **kwargs: Any
    ) -> None:
        self._running.discard(env_index)
        numbers = _numbers_of(episode, prev_episode_chunks)
        self._ended.append((env_index, self._steps, numbers))

    def on_sample_end(
        self, *, env_runner: Any, metrics_logger: Any, samples: list[Any], **kwargs: Any
    ) -> None:
        sampled = SampledEpisodes(
            worker_index=env_runner.worker_index or 0,
            life=self._life,
            clock=self._clock,
            steps=self._steps,
            num_envs=env_runner.num_envs,
            # RLlib's own counter also has the first observations of agents that join.
            agent_steps=sum(len(part) for one in samples for part in one.agent_episodes.values()),
            ended=self._ended,
        )
        metrics_logger.log_value(SAMPLED_EPISODES, sampled, reduce="item_series")
        self._clock += self._steps
        self._steps, self._ended = 0, []

    def _start_life(self) -> None:
        self._running.clear()
        self._life = time.time_ns()
        self._clock = self._steps = 0
        self._ended = []


def _numbers_of(episode: Any, earlier_chunks: list[Any]) -> EpisodeNumbers:
    """Returns the numbers of an episode that RLlib cut wherever a call of `sample` ended."""
    agent_returns, policy_returns = dict[str, float](), dict[str, float]()
    for chunk in (*earlier_chunks, episode):
        for agent_id, part in chunk.agent_episodes.items():
            if len(part):
                agent, reward = str(agent_id), float(part.get_return())
                agent_returns[agent] = agent_returns.get(agent, 0.0) + reward
                policy_returns[part.module_id] = policy_returns.get(part.module_id, 0.0) + reward
    infos = {
        str(agent_id): part.get_infos(-1)
        for agent_id, part in episode.agent_episodes.items()
        if len(part.infos) > 0
    }
    success = episode_success(infos)
    return EpisodeNumbers(
        length=sum(map(len, (*earlier_chunks, episode))),
        agent_returns=agent_returns,
        policy_returns=policy_returns,
        success=None if success is None else float(success),
    )
