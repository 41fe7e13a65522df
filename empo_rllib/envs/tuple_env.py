"""A Gymnasium environment that is played by several agents as a PettingZoo environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from pettingzoo import ParallelEnv

from empo_rllib.errors import EnvError


def is_tuple_env(env: gym.Env) -> bool:
    """Tells whether observations and actions of `env` are Tuples of one part for each agent."""
    spaces = env.observation_space, env.action_space
    return all(isinstance(space, gym.spaces.Tuple) for space in spaces) and (
        len(spaces[0].spaces) == len(spaces[1].spaces) > 0  # type: ignore[attr-defined]
    )


class TupleParallelEnv(ParallelEnv):
    """A `ParallelEnv` with the agents `agent_0`, `agent_1`, ... of a `gymnasium.Env`.

    Each has its part of the Tuples that are observed and done, as in level-based foraging (LBF),
    the multi-robot warehouse (RWARE) and VMAS's wrapper. Rewards, ends and infos may come one for
    each agent or one for all, who then get the same.

    Args:
        env: the environment to wrap; closed with this one.
    """

    def __init__(self, env: gym.Env) -> None:
        self.env = env
        name = env.spec.id if env.spec else type(env.unwrapped).__name__
        self.metadata = {**env.metadata, "name": name, "is_parallelizable": True}
        self.render_mode = env.render_mode
        self._spaces: dict[str, tuple[gym.Space, ...]] = {
            kind: tuple(getattr(env, kind).spaces) for kind in ("observation_space", "action_space")
        }
        self.possible_agents = [f"agent_{n}" for n in range(len(self._spaces["action_space"]))]
        self.agents: list[str] = []
        # What those that have left do: the environment wants an action of everybody.
        self._idle = [_lowest(space) for space in self._spaces["action_space"]]

    def observation_space(self, agent: str) -> gym.Space:
        """Returns the agent's part of the observation space."""
        return self._spaces["observation_space"][self.possible_agents.index(agent)]

    def action_space(self, agent: str) -> gym.Space:
        """Returns the agent's part of the action space."""
        return self._spaces["action_space"][self.possible_agents.index(agent)]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict]]:
        """Starts an episode; a seed repeats it."""
        observations, infos = self.env.reset(seed=seed, options=options)
        self.agents = list(self.possible_agents)
        return self._part(observations, self.agents), self._part(infos, self.agents)

    def step(self, actions: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """Plays the actions of all agents."""
        agents = zip(self.possible_agents, self._idle, strict=True)
        joint = tuple(actions.get(agent, idle) for agent, idle in agents)
        parts = [self._part(part, self.agents) for part in self.env.step(joint)]
        terminations, truncations = parts[2:4]
        self.agents = [a for a in self.agents if not (terminations[a] or truncations[a])]
        return tuple(parts)  # type: ignore[return-value]

    def render(self) -> Any:
        """Renders the wrapped environment."""
        return self.env.render()

    def close(self) -> None:
        """Closes the wrapped environment."""
        self.env.close()

    def _part(self, joint: Any, agents: Sequence[str]) -> dict[str, Any]:
        """Returns the part of each of `agents`; what is one for all is everybody's."""
        number = len(self.possible_agents)
        one_each = isinstance(joint, tuple | list) or (isinstance(joint, np.ndarray) and joint.ndim)
        parts = joint if one_each else [joint] * number
        if len(parts) != number:
            name = self.metadata["name"]
            raise EnvError(f"{name}: {len(parts)} parts for {number} agents: {joint!r:.80}")
        return {a: part for a, part in zip(self.possible_agents, parts, strict=True) if a in agents}


def _lowest(space: gym.Space) -> Any:
    if isinstance(space, gym.spaces.Box):
        return np.clip(np.zeros(space.shape, space.dtype), space.low, space.high)
    if isinstance(space, gym.spaces.Discrete):
        return int(space.start)
    return getattr(space, "start", 0) + np.zeros(space.shape or (), space.dtype)
