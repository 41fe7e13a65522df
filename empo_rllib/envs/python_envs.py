"""Any environment as a `VectorEnv`: N Python instances behind the arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv, number_copies
from empo_rllib.envs.success import episode_success
from empo_rllib.envs.vector_env import Leaves, VectorEnv, group_agents


class PythonEnvs(VectorEnv):
    """N instances of a `ParallelMultiAgentEnv`, stepped one after the other.

    Args:
        make: makes one instance; observations must be as the environment gives them.
        num_envs: N.
        with_state: ask the environment for its `state()`, too.
    """

    def __init__(
        self, make: Callable[[], ParallelMultiAgentEnv], num_envs: int, with_state: bool = False
    ) -> None:
        self._envs = [make() for _ in range(num_envs)]
        number_copies(self._envs)
        env = self._envs[0]
        groups = group_agents(env.possible_agents, env.observation_spaces, env.action_spaces)
        state_space = env.state_space if with_state else None
        self._allocate(num_envs, env.possible_agents, groups, state_space)
        self.there = np.zeros_like(self.present)
        # agent -> its column, its group, its position there
        self._seats = {
            self.agents[column]: (column, number, position)
            for number, group in enumerate(groups)
            for position, column in enumerate(group.columns)
        }
        self._infos: list[dict[str, dict[str, Any]]] = [{} for _ in range(num_envs)]

    def reset(self, seed: int | None = None) -> None:
        """See `VectorEnv.reset`."""
        seeds: list[int | None] = [None] * self.num_envs
        if seed is not None:  # neighbouring seeds, of other env runners, share no instance's seed
            seeds = np.random.SeedSequence(seed).generate_state(self.num_envs).tolist()
        for n, env in enumerate(self._envs):
            self._start_episode(n, env, seeds[n])

    def step(self, actions: Sequence[np.ndarray]) -> None:
        """See `VectorEnv.step`."""
        self.rewards[:] = 0.0
        self.terminated[:] = False
        self.truncated[:] = False
        for n, env in enumerate(self._envs):
            self._step_one(n, env, actions)

    def close(self) -> None:
        """See `VectorEnv.close`."""
        for env in self._envs:
            env.close()

    def _step_one(self, n: int, env: ParallelMultiAgentEnv, actions: Sequence[np.ndarray]) -> None:
        chosen = {}
        for agent in env.acting_agents:
            _, group, position = self._seats[agent]
            chosen[agent] = actions[group][n][position]
        seen, rewards, terminateds, truncateds, infos = env.step(chosen)
        self._infos[n].update(infos)
        cut_off = truncateds["__all__"]
        for agent, reward in rewards.items():
            column = self._seats[agent][0]
            self.rewards[n, column] = reward
            if terminateds.get(agent, False):
                self.terminated[n, column] = True
            elif cut_off or truncateds.get(agent, False):
                self.truncated[n, column] = True
        over = terminateds["__all__"] or cut_off
        self.episode_over[n] = over
        if over:
            self._write(self.final_observations, n, seen)
            self._write_state(self.final_state, n, env)
            success = episode_success(self._infos[n])
            self.success[n] = -1 if success is None else success
            self._start_episode(n, env, None)
        else:
            self._write(self.observations, n, seen)
            self._write_state(self.state, n, env)
            self._note_present(n, env)

    def _start_episode(self, n: int, env: ParallelMultiAgentEnv, seed: int | None) -> None:
        seen, infos = env.reset(seed=seed)
        self._infos[n] = dict(infos)
        self._write(self.observations, n, seen)
        self._write_state(self.state, n, env)
        self._note_present(n, env)

    def _note_present(self, n: int, env: ParallelMultiAgentEnv) -> None:
        for flags, agents in ((self.present, env.acting_agents), (self.there, env.seen_agents)):
            flags[n] = False
            for agent in agents:
                flags[n, self._seats[agent][0]] = True

    def _write(self, target: tuple[Leaves, ...], n: int, seen: dict[str, Any]) -> None:
        for agent, observation in seen.items():
            _, group, position = self._seats[agent]
            values = self.groups[group].leaves.flatten(observation)
            for leaf, value in zip(target[group], values, strict=True):
                leaf[n, position] = value

    def _write_state(self, target: Leaves, n: int, env: ParallelMultiAgentEnv) -> None:
        if self.state_form is None:
            return
        for leaf, value in zip(target, self.state_form.flatten(env.state()), strict=True):
            leaf[n] = value
