"""Playing T steps in N envs, and keeping them as a `Fragment`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import tree

from empo_rllib.acting.actor import Actor, Decision
from empo_rllib.acting.episodes import EpisodeRecorder, FinishedEpisode
from empo_rllib.envs.env_errors import reporting_env_errors
from empo_rllib.envs.vector_env import Leaves, VectorEnv
from empo_rllib.sampling.credit import (
    Carried,
    TeamReward,
    carry_on,
    credit_actions,
    pending_actions,
    reach_of_rewards,
)
from empo_rllib.sampling.fragment import Fragment

ForEnv = Callable[[np.ndarray, gym.Space], np.ndarray]


@dataclass
class Seconds:
    """Where the time of a rollout went."""

    inference: float = 0.0
    env: float = 0.0


@dataclass
class Rollout:
    """Envs, the policies that act in them, and what has been measured on the way.

    Attributes:
        envs: reset already.
        actors: one for each policy; together they act for all agents.
        for_env: turns a group's actions [N, A_g, ...] and their space into what the environment
            takes.
        env_error_file: where an environment that raises leaves its traceback.
        team_reward: what agents learn from in place of their own rewards; None: those.
        episodes: the running episodes.
        actions: the newest, for each group [N, A_g, ...].
        seconds: added to by every step since the last restart.
    """

    envs: VectorEnv
    actors: Sequence[Actor]
    for_env: ForEnv
    env_error_file: Path
    team_reward: TeamReward | None = None
    episodes: EpisodeRecorder = field(init=False)
    actions: list[np.ndarray] = field(init=False)
    seconds: Seconds = field(default_factory=Seconds)
    _carried: Carried | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.episodes = EpisodeRecorder(self.envs)
        self.actions = [
            np.zeros((self.envs.num_envs, len(group.columns), *shape), dtype)
            for group in self.envs.groups
            for shape, dtype in [_action_form(group.action_space)]
        ]

    def sample(
        self, num_steps: int, env_steps: int, weights_seq_no: int = 0
    ) -> tuple[Fragment, list[FinishedEpisode]]:
        """Plays `num_steps` in every env.

        Args:
            num_steps: T.
            env_steps: sampled before, by all env runners.
            weights_seq_no: which weights act.

        Returns:
            The steps, and the episodes that they ended.
        """
        envs = self.envs
        store = _Store(num_steps, self, self._carried)
        finished: list[FinishedEpisode] = []
        for t in range(num_steps):
            store.before_step(t)
            decisions = self._decide(env_steps + t * envs.num_envs)
            for actor in self.actors:
                actor.look(envs)
            self._step(store.acted(t))
            store.after_step(t, decisions)
            finished += self._add_to_episodes(store.acted(t)).values()
        fragment, self._carried = store.fragment(weights_seq_no)
        return fragment, finished

    def play(self, env_steps: int) -> list[FinishedEpisode]:
        """Resets all envs and plays one episode in each, to its end; returns them by env.

        One per env: of the episodes that many envs end first, too many are short.
        """
        self.restart()
        done: dict[int, FinishedEpisode] = {}
        while len(done) < self.envs.num_envs:
            present = self.envs.present.copy()
            self._decide(env_steps)
            self._step(present)
            done = {**self._add_to_episodes(present), **done}
        return [done[n] for n in sorted(done)]

    def _add_to_episodes(self, present: np.ndarray) -> dict[int, FinishedEpisode]:
        running = np.ones(self.envs.num_envs, bool)
        return self.episodes.add_step(present, self.envs.rewards, running)

    def restart(self) -> None:
        """Starts new episodes in all envs."""
        with reporting_env_errors(self.env_error_file, "reset"):
            self.envs.reset()
        for actor in self.actors:
            actor.restart()
        self.episodes = EpisodeRecorder(self.envs)
        self.seconds = Seconds()
        self._carried = None

    def _decide(self, env_steps: int) -> list[Decision]:
        started = time.perf_counter()
        decisions = [actor.decide(self.envs.observations, env_steps) for actor in self.actors]
        for actor, decision in zip(self.actors, decisions, strict=True):
            self.actions[actor.policy.group][:, actor.in_group] = decision.actions
        self.seconds.inference += time.perf_counter() - started
        return decisions

    def _step(self, present: np.ndarray) -> None:
        """Plays what was decided; `present`, bool [N, A]: who acts."""
        started = time.perf_counter()
        pairs = zip(self.actions, self.envs.groups, strict=True)
        chosen = [self.for_env(actions, group.action_space) for actions, group in pairs]
        with reporting_env_errors(self.env_error_file, "step"):
            self.envs.step(chosen)
        self.seconds.env += time.perf_counter() - started
        ended = self.envs.terminated | self.envs.truncated | self.envs.episode_over[:, None]
        for actor in self.actors:
            actor.advance(present, ended)


class _Store:
    """The arrays of a fragment while it is being filled, from the first row after the carried ones.

    Args:
        num_steps: T, that are to be played.
        rollout: whose steps they are.
        carried: of the fragment before.
    """

    def __init__(self, num_steps: int, rollout: Rollout, carried: Carried | None) -> None:
        self._rollout, self._carried = rollout, carried
        envs = self._envs = rollout.envs
        self._first = 0 if carried is None else len(carried.present)
        num_rows = self._first + num_steps
        shape = (num_rows, envs.num_envs, len(envs.agents))
        self._observations = [
            tuple(np.empty((num_rows + 1, *leaf.shape), leaf.dtype) for leaf in leaves)
            for leaves in envs.observations
        ]
        self._state = tuple(
            np.empty((num_rows + 1, *leaf.shape), leaf.dtype) for leaf in envs.state
        )
        self._final_states: list[Leaves] = []
        self._actions = [np.empty((num_rows, *a.shape), a.dtype) for a in rollout.actions]
        self._inputs: list[np.ndarray] = []
        self._memory: tuple[Any, ...] = ()
        self._logp = np.empty(shape, np.float32)
        self._rewards = np.empty(shape, np.float32)
        self._present = np.empty(shape, bool)
        self._there = np.empty((num_rows + 1, *shape[1:]), bool)
        self._terminated = np.zeros(shape, bool)
        self._truncated = np.zeros(shape, bool)
        self._over = np.zeros(shape[:2], bool)
        self._finals: list[list[Leaves]] = [[] for _ in envs.groups]

    def acted(self, t: int) -> np.ndarray:
        """Returns bool [N, A]: who acted in step `t`."""
        acted: np.ndarray = self._present[self._first + t]
        return acted

    def before_step(self, t: int) -> None:
        self._present[self._first + t] = self._envs.present
        self._store_observations(self._first + t)

    def after_step(self, t: int, decisions: Sequence[Decision]) -> None:
        envs, row = self._envs, self._first + t
        if t == 0:
            num_rows = len(self._rewards)
            self._inputs = [
                np.empty((num_rows, *d.action_dist_inputs.shape), np.float32) for d in decisions
            ]
            self._memory = tree.map_structure(
                lambda part: np.empty((num_rows, *part.shape), part.dtype),
                tuple(decision.memory for decision in decisions),
            )
        for kept, actions in zip(self._actions, self._rollout.actions, strict=True):
            kept[row] = actions
        for inputs, actor, decision in zip(
            self._inputs, self._rollout.actors, decisions, strict=True
        ):
            inputs[row] = decision.action_dist_inputs
            self._logp[row][:, actor.columns] = decision.action_logp
        for kept, part in zip(
            tree.flatten(self._memory),
            tree.flatten([decision.memory for decision in decisions]),
            strict=True,
        ):
            kept[row] = part
        team = self._rollout.team_reward
        self._rewards[row] = envs.rewards if team is None else team.pay(envs.rewards)
        self._terminated[row] = envs.terminated
        self._truncated[row] = envs.truncated
        self._over[row] = envs.episode_over
        if envs.episode_over.any():
            for finals, leaves in zip(self._finals, envs.final_observations, strict=True):
                finals.append(tuple(leaf[envs.episode_over] for leaf in leaves))
            self._final_states.append(tuple(leaf[envs.episode_over] for leaf in envs.final_state))

    def fragment(self, weights_seq_no: int) -> tuple[Fragment, Carried | None]:
        """Returns the fragment, and what the next one is to begin with."""
        self._store_observations(len(self._rewards))
        team, present_next = self._rollout.team_reward, self._envs.present.copy()
        discounts = np.ones(len(self._envs.agents)) if team is None else team.discounts
        reach = reach_of_rewards(self._there, self._truncated, self._over, discounts)
        if self._carried is not None:
            self._put_in_front(self._carried)
            reach[: self._first] = self._carried.reach
        credit_actions(self._rewards, self._present, reach)
        ended = self._truncated | self._terminated if team is None else self._truncated
        fragment = Fragment(
            policies=tuple(actor.policy for actor in self._rollout.actors),
            groups=self._envs.groups,
            observations=tuple(self._observations),
            actions=tuple(self._actions),
            action_logp=self._logp,
            action_dist_inputs=tuple(self._inputs),
            memory=self._memory,
            rewards=self._rewards,
            present=self._present,
            there=self._there,
            present_next=present_next,
            pending=pending_actions(self._present, present_next, ended, self._over),
            terminated=self._terminated,
            truncated=self._truncated,
            episode_over=self._over,
            final_index=np.argwhere(self._over),
            final_observations=tuple(
                _concatenated(finals, leaves)
                for finals, leaves in zip(self._finals, self._envs.observations, strict=True)
            ),
            state_form=self._envs.state_form,
            state=self._state,
            final_state=_concatenated(self._final_states, self._envs.state),
            carried=self._first,
            weights_seq_no=weights_seq_no,
        )
        return fragment, None if team is None else carry_on(fragment, reach)

    def _put_in_front(self, carried: Carried) -> None:
        pairs = [
            *zip(self._observations, carried.observations, strict=True),
            (self._state, carried.state),
            (self._actions, carried.actions),
            (self._inputs, carried.action_dist_inputs),
            (tree.flatten(self._memory), tree.flatten(carried.memory)),
            ([self._logp], [carried.action_logp]),
            ([self._rewards], [carried.rewards]),
            ([self._present, self._there], [carried.present, carried.there]),
            ([self._terminated], [carried.terminated]),
        ]
        for arrays, rows in pairs:
            for array, first in zip(arrays, rows, strict=True):
                array[: self._first] = first

    def _store_observations(self, row: int) -> None:
        self._there[row] = self._envs.there
        for kept, leaves in zip(self._observations, self._envs.observations, strict=True):
            for store, leaf in zip(kept, leaves, strict=True):
                store[row] = leaf
        for store, leaf in zip(self._state, self._envs.state, strict=True):
            store[row] = leaf


def _concatenated(finals: list[Leaves], like: Leaves) -> Leaves:
    if not finals:
        return tuple(np.empty((0, *leaf.shape[1:]), leaf.dtype) for leaf in like)
    return tuple(np.concatenate(parts) for parts in zip(*finals, strict=True))


def _action_form(space: gym.Space) -> tuple[tuple[int, ...], np.dtype]:
    """Returns shape and dtype in which actions of a distribution over `space` are kept."""
    if isinstance(space, gym.spaces.Box):
        return space.shape, np.dtype(np.float32)
    return tuple(space.shape or ()), np.dtype(np.int64)
