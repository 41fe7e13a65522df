"""The fast path for `PPOConfig`s that others wrote: their environments, and RLlib's own metrics.

Of RLlib's private parts (Ray 2.60) it needs `MultiAgentEnvRunner._log_episode_metrics`, which a
contract test checks.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from ray.rllib.env.env_context import EnvContext
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from empo_rllib.acting.episodes import FinishedEpisode
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.envs.python_envs import PythonEnvs
from empo_rllib.envs.rllib_env import RllibParallelEnv
from empo_rllib.sampling.env_runner import (
    FRAGMENT_SOURCE,
    FragmentEnvRunner,
    FragmentSource,
    without_source,
)
from empo_rllib.sampling.rollout import Rollout

Creator = Callable[[EnvContext], MultiAgentEnv]


@dataclass(frozen=True, kw_only=True)
class CreatedSource(FragmentSource):
    """A source of environments that a `creator` of the user's makes."""

    creator: Creator


class AcceleratedEnv(ParallelMultiAgentEnv):
    """The environment of a `CreatedSource` in the gate that all Python environments pass.

    A class, so that a checkpoint can be restored where no name was registered.
    """

    def __init__(self, context: EnvContext) -> None:
        source: CreatedSource = context[FRAGMENT_SOURCE]
        super().__init__(RllibParallelEnv(source.creator(without_source(context))))


class AcceleratedEnvRunner(FragmentEnvRunner):
    """A `FragmentEnvRunner` that logs episodes as RLlib's own env runner does."""

    def _log_episodes(
        self,
        rollout: Rollout,
        num_steps: int,
        agent_steps: int,
        ended: list[tuple[int, int, FinishedEpisode]],
    ) -> None:
        seconds = rollout.seconds.inference + rollout.seconds.env
        step_s = seconds / max(num_steps or rollout.episodes.steps, 1)
        for _, _, episode in ended:
            of_policies: dict[str, float] = defaultdict(float)
            for agent, value in episode.returns.items():
                of_policies[self._policy_of[agent]] += value
            self._log_episode_metrics(
                episode.length,
                episode.episode_return,
                episode.length * step_s,
                agents={str(agent): value for agent, value in episode.returns.items()},
                modules=dict(of_policies),
                agent_steps={str(agent): steps for agent, steps in episode.lengths.items()},
            )


def make_created_envs(
    creator: Creator, num_envs: int, _in_evaluation: bool, context: EnvContext
) -> PythonEnvs:
    """Makes so many environments of the user's; they alone end their episodes."""
    vector_index = itertools.count()

    def make() -> ParallelMultiAgentEnv:
        index = next(vector_index)
        own = EnvContext(context, context.worker_index, index, num_workers=context.num_workers)
        return ParallelMultiAgentEnv(RllibParallelEnv(creator(own)))

    return PythonEnvs(make, num_envs)
