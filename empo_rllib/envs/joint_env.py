"""A Gymnasium environment that is played by several agents as a PettingZoo environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from empo_rllib.envs.gymnasium_env import GymnasiumParallelEnv
from empo_rllib.errors import EnvError


def is_joint_env(env: gym.Env) -> bool:
    """Tells whether observations and actions of `env` consist of one part for each agent."""
    spaces = [getattr(env, f"{kind}_space", None) for kind in ("observation", "action")]
    observations, actions = map(_parts, spaces)
    return bool(actions) and observations.keys() == actions.keys()


class JointParallelEnv(GymnasiumParallelEnv):
    """A `ParallelEnv` with the agents of a `gymnasium.Env` that all observe and do a part of.

    The parts are those of Tuples, for `agent_0`, `agent_1`, ..., as in level-based foraging (LBF),
    the multi-robot warehouse (RWARE) and VMAS's wrapper, or of Dicts by agent. Rewards, ends and
    infos may come one for each agent or one for all, who then get the same.

    Args:
        env: the environment to wrap; closed with this one.
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self._observations, self._actions = _parts(env.observation_space), _parts(env.action_space)
        self.possible_agents = list(self._actions)
        # What those that have left do: the environment wants an action of everybody.
        self._idle = {agent: _lowest(space) for agent, space in self._actions.items()}

    def observation_space(self, agent: Any) -> gym.Space:
        """Returns the agent's part of the observation space."""
        return self._observations[agent]

    def action_space(self, agent: Any) -> gym.Space:
        """Returns the agent's part of the action space."""
        return self._actions[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[Any, Any], dict[Any, dict]]:
        """Starts an episode; a seed repeats it."""
        observations, infos = self.env.reset(seed=seed, options=options)
        self.agents = list(self.possible_agents)
        return self._part(observations), self._part(infos)

    def step(self, actions: dict[Any, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """Plays the actions of all agents."""
        of_all = self._idle | actions
        is_tuple = isinstance(self.env.action_space, gym.spaces.Tuple)
        joint = tuple(of_all[agent] for agent in self.possible_agents) if is_tuple else of_all
        parts = [self._part(part) for part in self.env.step(joint)]
        terminations, truncations = parts[2:4]
        ended = {a for a in self.agents if terminations.get(a) or truncations.get(a)}
        self.agents = [agent for agent in self.agents if agent not in ended]
        return tuple(parts)  # type: ignore[return-value]

    def _part(self, joint: Any) -> dict[Any, Any]:
        """Returns each living agent's part; what is one for all is everybody's."""
        agents = self.agents
        if isinstance(joint, Mapping) and joint.keys() & set(agents):
            return {agent: joint[agent] for agent in agents if agent in joint}
        number = len(self.possible_agents)
        one_each = isinstance(joint, tuple | list) or (isinstance(joint, np.ndarray) and joint.ndim)
        parts = joint if one_each else [joint] * number
        if len(parts) != number:
            name = self.metadata["name"]
            raise EnvError(f"{name}: {len(parts)} parts for {number} agents: {joint!r:.80}")
        return {a: part for a, part in zip(self.possible_agents, parts, strict=True) if a in agents}


def _parts(space: gym.Space | None) -> dict[Any, gym.Space]:
    if isinstance(space, gym.spaces.Tuple):
        return {f"agent_{n}": part for n, part in enumerate(space.spaces)}
    return dict(space.spaces) if isinstance(space, gym.spaces.Dict) else {}


def _lowest(space: gym.Space) -> Any:
    if isinstance(space, gym.spaces.Box):
        return np.clip(np.zeros(space.shape, space.dtype), space.low, space.high)
    if isinstance(space, gym.spaces.Discrete):
        return int(space.start)
    return getattr(space, "start", 0) + np.zeros(space.shape or (), space.dtype)
