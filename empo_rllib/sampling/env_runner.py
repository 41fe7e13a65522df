"""The env runner of the fast path: N envs step together, and what happens is kept in arrays.

This module is the only one that leans on private parts of RLlib's `MultiAgentEnvRunner`
(Ray 2.60): `_seed`, `_device`, `_callbacks`, `_weights_seq_no`, `_time_after_sampling`,
`_log_env_steps` and `_metrics_num_env_steps_sampled`. A contract test checks them.
"""

from __future__ import annotations

import empo_rllib.rllib_imports  # noqa: F401  # before others import Ray

# isort: split
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.env.env_context import EnvContext
from ray.rllib.env.env_runner import ENV_STEP_TIMER
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.utils.metrics import (
    NUM_AGENT_STEPS_SAMPLED,
    NUM_AGENT_STEPS_SAMPLED_LIFETIME,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_EPISODES,
    NUM_EPISODES_LIFETIME,
    NUM_MODULE_STEPS_SAMPLED,
    NUM_MODULE_STEPS_SAMPLED_LIFETIME,
    RLMODULE_INFERENCE_TIMER,
    SAMPLE_TIMER,
    TIME_BETWEEN_SAMPLING,
    WEIGHTS_SEQ_NO,
)

from empo_rllib.acting.actor import Actor
from empo_rllib.acting.decision import actions_for_env
from empo_rllib.acting.episodes import FinishedEpisode
from empo_rllib.acting.view import Critic, policy_views
from empo_rllib.envs.constant import ConstantWatch
from empo_rllib.envs.env_errors import reporting_env_errors, reporting_errors
from empo_rllib.envs.vector_env import VectorEnv
from empo_rllib.sampling.callback import EpisodeArrays, SampleCallback
from empo_rllib.sampling.credit import TeamReward
from empo_rllib.sampling.episode_window import SAMPLED_EPISODES, SampledEpisodes, numbers_of
from empo_rllib.sampling.fragment import Fragment
from empo_rllib.sampling.rollout import Rollout, Seconds
from empo_rllib.seeding import seed_everything, stream_seed

FRAGMENT_SOURCE = "fragment_source"


@dataclass(frozen=True)
class FragmentSource:
    """What a `FragmentEnvRunner` finds under `FRAGMENT_SOURCE` in its `env_config`.

    Attributes:
        make_envs: makes a `VectorEnv` of so many copies, with observations as the environment
            gives them; for evaluation (True), endless episodes are cut. The rest of `env_config`
            and the env runner's index are in its last argument.
        agents: the agents of each policy.
        with_agent_id: the policies that also see which agent they act for.
        env_error_file: where an environment or a callback that raises leaves its traceback.
        critic: what the policies' critics read.
        team_reward: what every agent is paid of the team's rewards; None: its own.
    """

    make_envs: Callable[[int, bool, EnvContext], VectorEnv]
    agents: Mapping[str, tuple[str, ...]]
    with_agent_id: frozenset[str]
    env_error_file: Path
    critic: Critic = "own"
    team_reward: Literal["sum", "mean"] | None = None


class FragmentEnvRunner(MultiAgentEnvRunner):
    """RLlib's `MultiAgentEnvRunner`, except that `sample` returns one `Fragment`.

    Its `env` is a single environment, for spaces and connectors. Evaluation (a number of
    episodes) plays each episode in an env of its own. Only random actions go RLlib's own way.
    """

    _time_after_sampling: float | None

    def __init__(self, config: AlgorithmConfig, **kwargs: Any) -> None:
        self._rollouts: dict[str, Rollout] = {}
        self._constant_watch = ConstantWatch()
        # In place of RLlib's seeding, which also calls torch.use_deterministic_algorithms where
        # torch is built without CUDA. Acting needs none of them, and that loads torch's compiler:
        # seconds of every start.
        seed = config.seed
        if seed is not None:
            seed = stream_seed(seed, kwargs.get("worker_index") or 0, config.in_evaluation)
            seed_everything(seed)
            torch.backends.cudnn.deterministic = True
        super().__init__(config=config.copy(copy_frozen=False).debugging(seed=None), **kwargs)
        self.config.debugging(seed=config.seed)
        self._seed = seed

    def make_env(self) -> None:
        """Makes RLlib's env, one instance of it, and the `VectorEnv` that is sampled from."""
        num_envs = self.config.num_envs_per_env_runner
        self.config.num_envs_per_env_runner = 1
        try:
            super().make_env()
        finally:
            self.config.num_envs_per_env_runner = num_envs
        if self.worker_index:
            torch.set_num_threads(1)  # env runners share their node's cores
        self._source: FragmentSource = self.config.env_config[FRAGMENT_SOURCE]
        self._policy_of = {a: name for name, agents in self._source.agents.items() for a in agents}
        for purpose in list(self._rollouts):  # RLlib makes envs anew after they failed
            self._close_rollout(purpose)

    def stop(self) -> None:
        """Closes all envs."""
        for purpose in list(self._rollouts):
            self._close_rollout(purpose)
        super().stop()

    def sample(
        self,
        *,
        num_timesteps: int | None = None,
        num_episodes: int | None = None,
        explore: bool | None = None,
        random_actions: bool = False,
        force_reset: bool = False,
    ) -> list[Any]:
        """Returns a list of one `Fragment`; with `num_episodes`, so many `FinishedEpisode`s.

        Args:
            num_timesteps: env steps, rounded up to a multiple of the number of envs.
            num_episodes: play so many whole episodes instead, from a reset.
            explore: sample actions; the config's by default.
            random_actions: act randomly, and return RLlib's `MultiAgentEpisode`s.
            force_reset: start new episodes.
        """
        if random_actions:
            return super().sample(
                num_timesteps=num_timesteps,
                num_episodes=num_episodes,
                random_actions=True,
                force_reset=force_reset,
            )
        explore = self.config.explore if explore is None else explore
        if self._time_after_sampling is not None:
            seconds = time.perf_counter() - self._time_after_sampling
            self.metrics.log_value(TIME_BETWEEN_SAMPLING, seconds)
        self.metrics.log_value(WEIGHTS_SEQ_NO, self._weights_seq_no, window=1)
        samples: list[Any]
        with self.metrics.log_time(SAMPLE_TIMER):
            if num_episodes is not None:
                samples = list(self._play(num_episodes, explore))
            else:
                samples = [self._sample_fragment(num_timesteps, explore, force_reset)]
        self._time_after_sampling = time.perf_counter()
        return samples

    def _sample_fragment(
        self, num_timesteps: int | None, explore: bool, force_reset: bool
    ) -> Fragment:
        num_envs = self.config.num_envs_per_env_runner
        if num_timesteps is None:
            num_steps = self.config.get_rollout_fragment_length(self.worker_index)
        else:
            num_steps = -(-num_timesteps // num_envs)
        rollout = self._rollout("train", num_envs, explore)
        if force_reset:
            rollout.restart()
        fragment, finished = rollout.sample(
            num_steps, self.num_env_steps_sampled_lifetime, self._weights_seq_no
        )
        self._watch_first_steps(fragment, rollout.envs.agents)
        acted = fragment.acted()
        self._log_steps(acted, rollout.envs, len(fragment), len(finished))
        steps, envs = fragment.final_index.T
        ends = zip(envs.tolist(), (steps - fragment.carried + 1).tolist(), finished, strict=True)
        self._log_episodes(rollout, num_steps, sum(acted), list(ends))
        self._log_seconds(rollout, num_steps)
        self._call_back(fragment, rollout.envs.agents, finished)
        return fragment

    def _watch_first_steps(self, fragment: Fragment, agents: Sequence[str]) -> None:
        watched = fragment.observations_in(0)
        while not self._constant_watch.over and (seen := next(watched, None)) is not None:
            self._constant_watch.look({agents[column]: seen[column] for column in seen})

    def _call_back(
        self, fragment: Fragment, agents: Sequence[str], finished: Sequence[FinishedEpisode]
    ) -> None:
        callbacks = [one for one in self._callbacks if isinstance(one, SampleCallback)]
        if not callbacks:
            return
        episodes = EpisodeArrays.of(agents, finished)
        for callback in callbacks:
            what = f"the callback {type(callback).__name__} raised in on_sample()"
            with reporting_errors(self._source.env_error_file, what):
                callback.on_sample(
                    fragment=fragment,
                    episodes=episodes,
                    agents=tuple(agents),
                    metrics_logger=self.metrics,
                )

    def _play(self, num_episodes: int, explore: bool) -> list[FinishedEpisode]:
        num_envs = min(num_episodes, self.config.num_envs_per_env_runner)
        rollout = self._rollout("evaluate", num_envs, explore)
        finished: list[FinishedEpisode] = []
        while len(finished) < num_episodes:
            finished += rollout.play(self.num_env_steps_sampled_lifetime)
        del finished[num_episodes:]
        acted = [sum(e.lengths.get(a, 0) for e in finished) for a in rollout.envs.agents]
        env_steps = sum(episode.length for episode in finished)
        self._log_steps(acted, rollout.envs, env_steps, len(finished))
        self._log_episodes(rollout, 0, sum(acted), [(0, 0, episode) for episode in finished])
        return finished

    def _rollout(self, purpose: str, num_envs: int, explore: bool) -> Rollout:
        """Returns the envs for a purpose with the actors in them, made and reset when needed."""
        rollout = self._rollouts.get(purpose)
        if rollout is not None and rollout.envs.num_envs == num_envs:
            if rollout.actors[0].explore != explore:
                rollout.actors = self._actors(rollout.envs, explore)
            return rollout
        self._close_rollout(purpose)
        with reporting_env_errors(self._source.env_error_file, "reset"):
            context = EnvContext(
                self.config.env_config, self.worker_index, num_workers=self.config.num_env_runners
            )
            envs = self._source.make_envs(num_envs, purpose == "evaluate", without_source(context))
            envs.reset(seed=self._seed)
        for_env = partial(actions_for_env, normalize=self.config.normalize_actions)
        actors = self._actors(envs, explore)
        self._rollouts[purpose] = Rollout(
            envs, actors, for_env, self._source.env_error_file, self._team_reward(envs)
        )
        return self._rollouts[purpose]

    def _team_reward(self, envs: VectorEnv) -> TeamReward | None:
        kind = self._source.team_reward
        if kind is None:
            return None
        policies = [self._policy_of[agent] for agent in envs.agents]
        gammas = [self.config.get_config_for_module(policy).gamma for policy in policies]
        return TeamReward(kind, np.array(gammas))

    def _actors(self, envs: VectorEnv, explore: bool) -> list[Actor]:
        return [
            Actor(
                self.module[policy.policy],
                policy,
                envs.groups[policy.group],
                envs.num_envs,
                explore,
                self._device,
            )
            for policy in policy_views(
                self._source.agents, self._source.with_agent_id, envs, self._source.critic
            )
        ]

    def _close_rollout(self, purpose: str) -> None:
        rollout = self._rollouts.pop(purpose, None)
        if rollout is not None:
            rollout.envs.close()

    def _log_steps(
        self, acted: Sequence[int], envs: VectorEnv, env_steps: int, episodes: int
    ) -> None:
        """Logs the counters of RLlib's `_increase_sampled_metrics`, all steps at once."""
        log = self.metrics.log_value
        log(NUM_ENV_STEPS_SAMPLED, env_steps, reduce="sum")
        log(NUM_ENV_STEPS_SAMPLED_LIFETIME, env_steps, reduce="lifetime_sum", with_throughput=True)
        self._log_env_steps(metric=self._metrics_num_env_steps_sampled, num_steps=env_steps)
        if episodes:
            log(NUM_EPISODES, episodes, reduce="sum")
            log(NUM_EPISODES_LIFETIME, episodes, reduce="lifetime_sum")
        for agent, steps in zip(envs.agents, acted, strict=True):
            if steps:
                module = self._policy_of[agent]
                log((NUM_AGENT_STEPS_SAMPLED, str(agent)), steps, reduce="sum")
                log((NUM_AGENT_STEPS_SAMPLED_LIFETIME, str(agent)), steps, reduce="lifetime_sum")
                log((NUM_MODULE_STEPS_SAMPLED, module), steps, reduce="sum")
                log((NUM_MODULE_STEPS_SAMPLED_LIFETIME, module), steps, reduce="lifetime_sum")

    def _log_seconds(self, rollout: Rollout, num_steps: int) -> None:
        """Logs what one step of all envs took, as RLlib's timers do."""
        self.metrics.log_value(RLMODULE_INFERENCE_TIMER, rollout.seconds.inference / num_steps)
        self.metrics.log_value(ENV_STEP_TIMER, rollout.seconds.env / num_steps)
        rollout.seconds = Seconds()

    def _log_episodes(
        self,
        rollout: Rollout,
        num_steps: int,
        agent_steps: int,
        ended: list[tuple[int, int, FinishedEpisode]],
    ) -> None:
        """Logs the numbers of all episodes, which RLlib's own means would not keep apart."""
        sampled = SampledEpisodes(
            worker_index=self.worker_index or 0,
            life=rollout.episodes.life,
            clock=rollout.episodes.steps - num_steps,
            steps=num_steps,
            num_envs=rollout.envs.num_envs,
            agent_steps=agent_steps,
            ended=[(env, step, numbers_of(one, self._policy_of)) for env, step, one in ended],
        )
        self.metrics.log_value(SAMPLED_EPISODES, sampled, reduce="item_series")


def without_source(context: EnvContext) -> EnvContext:
    """Returns what the environment's own constructor gets of an `env_config`."""
    own = {key: value for key, value in context.items() if key != FRAGMENT_SOURCE}
    return EnvContext(
        own, context.worker_index, context.vector_index, num_workers=context.num_workers
    )
