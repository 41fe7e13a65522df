"""Action masks: which actions an agent may take now, by PettingZoo's convention.

A mask is the entry `action_mask` of a Dict observation, with one number for each action: 0 forbids
it. Actions of several dimensions have theirs side by side. `MasksInObservations` puts masks of
infos there. The default network (`rl_modules/actor_critic.py`) gives what a mask forbids no
probability, chance picks among the rest, and `ParallelMultiAgentEnv` lets nothing else pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv
from pettingzoo.utils.wrappers import BaseParallelWrapper

from empo_rllib.envs.actions import adapt_action
from empo_rllib.envs.adapting import OBSERVATION
from empo_rllib.envs.observations import short
from empo_rllib.errors import EnvError

ACTION_MASK = "action_mask"


def mask_of(holder: Any) -> Any:
    """Returns the mask in an observation, in infos, or in a space; None where there is none."""
    if isinstance(holder, spaces.Dict):
        return holder.spaces.get(ACTION_MASK)
    return holder.get(ACTION_MASK) if isinstance(holder, Mapping) else None


class LegalActions:
    """What masks over an action space allow.

    Args:
        space: what a policy chooses from: Discrete or MultiDiscrete, counting from 0.
    """

    def __init__(self, space: spaces.Discrete | spaces.MultiDiscrete) -> None:
        sizes = [int(space.n)] if isinstance(space, spaces.Discrete) else space.nvec.tolist()
        self.size = sum(sizes)
        ends = np.cumsum(sizes)
        self._starts = ends - sizes
        self._parts = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]

    def allow_any(self, mask: np.ndarray) -> bool:
        """Whether there is an action to take, in each dimension."""
        return all(mask[part].any() for part in self._parts)

    def allow(self, mask: np.ndarray, action: Any) -> bool:
        """Whether an action may be taken."""
        return bool(np.all(mask[self._starts + action]))

    def draw(self, space: Any, mask: np.ndarray) -> Any:
        """Draws one of the actions, by the generator of `space`, which has as many of them."""
        masks = tuple((mask[part] != 0).astype(np.int8) for part in self._parts)
        return space.sample(masks[0] if isinstance(space, spaces.Discrete) else masks)


def legal_actions(observation_space: spaces.Space, action_space: spaces.Space) -> Any:
    """Returns the `LegalActions` of an agent; None where its observations have no mask.

    Args:
        observation_space: of the agent in the environment.
        action_space: what its policy chooses from (`envs/actions.py`).

    Raises:
        EnvError: the mask is not one of these actions.
    """
    mask = mask_of(observation_space)
    if mask is None:
        return None
    if not isinstance(action_space, spaces.Discrete | spaces.MultiDiscrete):
        raise EnvError(
            f"observations have an {ACTION_MASK}, which is for Discrete and MultiDiscrete actions; "
            f"these are {action_space}. Call that part of the observation something else."
        )
    legal = LegalActions(action_space)
    if mask.shape != (legal.size,):
        raise EnvError(
            f"the {ACTION_MASK} in observations has the shape {mask.shape}, and there are "
            f"{legal.size} actions: it must have the shape ({legal.size},), one number for each."
        )
    return legal


class MasksInObservations(BaseParallelWrapper):
    """A `ParallelEnv` whose infos hold masks, which are put into the observations.

    A Dict observation gets the entry `action_mask`; any other becomes a Dict of `observation` and
    `action_mask`. An agent that has an observation and no mask may take any action.

    Args:
        env: the environment to wrap.
    """

    def __init__(self, env: ParallelEnv) -> None:
        super().__init__(env)
        self.possible_agents = list(env.possible_agents)
        self._sizes: dict[str, int] = {}
        self._spaces: dict[str, spaces.Space] = {}
        for agent in self.possible_agents:
            self._add(agent)

    def _add(self, agent: str) -> None:
        space = self.env.observation_space(agent)
        acts = adapt_action(self.env.action_space(agent))[0]
        if not isinstance(acts, spaces.Discrete | spaces.MultiDiscrete):
            self._spaces[agent] = space
            return
        if mask_of(space) is not None:
            raise EnvError(f"the observation of {agent} has an entry {ACTION_MASK!r} already")
        self._sizes[agent] = LegalActions(acts).size
        parts = dict(space.spaces) if isinstance(space, spaces.Dict) else {OBSERVATION: space}
        parts[ACTION_MASK] = spaces.MultiBinary(self._sizes[agent])
        self._spaces[agent] = spaces.Dict(parts)

    def observation_space(self, agent: str) -> spaces.Space:
        """Returns the observation space of an agent, with its mask."""
        return self._spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Starts an episode."""
        observations, infos = self.env.reset(seed=seed, options=options)
        return self._joined(observations, infos), infos

    def step(self, actions: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """Plays one step."""
        observations, *rest, infos = self.env.step(actions)
        return self._joined(observations, infos), *rest, infos

    def _joined(self, observations: Mapping[str, Any], infos: Mapping[str, Any]) -> dict[str, Any]:
        return {
            agent: self._with_mask(agent, seen, mask_of(infos.get(agent)))
            if agent in self._sizes
            else seen
            for agent, seen in observations.items()
        }

    def _with_mask(self, agent: str, seen: Any, mask: Any) -> dict[str, Any]:
        wanted = (self._sizes[agent],)
        if mask is None:
            mask = np.ones(wanted, np.int8)
        mask = np.asarray(mask)
        if mask.shape != wanted:
            raise EnvError(
                f"env.masks_in_infos: the {ACTION_MASK} in the infos of {agent} is {short(mask)} "
                f"of the shape {mask.shape}, and must have the shape {wanted}, one number for each "
                "action."
            )
        parts = dict(seen) if isinstance(seen, Mapping) else {OBSERVATION: seen}
        return {**parts, ACTION_MASK: (mask != 0).astype(np.int8)}
