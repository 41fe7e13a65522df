"""Agents of any name, as texts: files, messages and policies name them so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from pettingzoo import ParallelEnv
from pettingzoo.utils.wrappers import BaseParallelWrapper


class NamedAgents(BaseParallelWrapper):
    """A `ParallelEnv` whose agents are called by the text of their ids: `0` is `"0"`.

    Args:
        env: the environment to wrap; the texts differ.
    """

    def __init__(self, env: ParallelEnv) -> None:
        super().__init__(env)
        self._ids = {str(agent): agent for agent in env.possible_agents}
        self.possible_agents = list(self._ids)

    @property
    def agents(self) -> list[str]:
        """Who is there."""
        return [str(agent) for agent in self.env.agents]

    @agents.setter
    def agents(self, agents: list[str]) -> None:
        self.env.agents = [self._ids[agent] for agent in agents]

    def observation_space(self, agent: str) -> gym.Space:
        """Returns the observation space of an agent."""
        return self.env.observation_space(self._ids[agent])

    def action_space(self, agent: str) -> gym.Space:
        """Returns the action space of an agent."""
        return self.env.action_space(self._ids[agent])

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Starts an episode."""
        observations, infos = self.env.reset(seed=seed, options=options)
        return _named(observations), _named(infos)

    def step(self, actions: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """Plays one step."""
        parts = self.env.step({self._ids[agent]: action for agent, action in actions.items()})
        return tuple(map(_named, parts))  # type: ignore[return-value]


def with_names(env: ParallelEnv) -> ParallelEnv:
    """Returns `env`, with `NamedAgents` where ids are numbers or tuples."""
    ids = list(env.possible_agents)
    are_texts = all(isinstance(agent, str) for agent in ids)
    can_be = all(isinstance(agent, str | int | np.integer | tuple) for agent in ids)
    distinct = len({str(agent) for agent in ids}) == len(ids)
    return NamedAgents(env) if can_be and distinct and not are_texts else env


def _named(by_agent: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(agent): value for agent, value in by_agent.items()}
