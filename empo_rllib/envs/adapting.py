"""What a policy sees of an agent's observation: with the agent's id, as one vector, or as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from empo_rllib.envs.encoding import flat_space, flattener
from empo_rllib.errors import EnvError

OBSERVATION = "observation"
AGENT_ID = "agent_id"
#: Parts of what a critic reads that sees more than its agent: all agents' observations, or the
#: environment's state, and who is there.
OF_ALL, STATE, THERE = "observations", "state", "there"
#: In a batch, which of each agent's distinct observations a row has.
POSITION = "position"
Transform = Callable[[Any], Any]


def agents_of(env: Any) -> list[str]:
    """Returns the `possible_agents` of a PettingZoo environment.

    Raises:
        EnvError: it has none.
    """
    agents = list(getattr(env, "possible_agents", ()))
    if not agents:
        raise EnvError("an environment must list all agents it may ever have in possible_agents")
    return agents


def adapt_observation(
    space: spaces.Space, agent: str, agents: Sequence[str], *, with_id: bool, flat: bool
) -> tuple[spaces.Space, Transform | None]:
    """Decides what a policy sees of an agent's observation.

    Args:
        space: of the observation in the environment.
        agent: whose it is.
        agents: all possible agents.
        with_id: add the agent's one-hot position among `agents`: as the entry `agent_id` of a
            Dict; any other observation becomes a Dict of `observation` and `agent_id`.
        flat: turn it (with the agent's id) into one float32 vector; see `envs/encoding.py`.

    Returns:
        The space of what the policy sees, and what makes that of an observation; None: nothing.

    Raises:
        EnvError: the observation has an `agent_id` already, or has no flat form.
    """
    transform: Transform | None = None
    if with_id:
        space, transform = _with_agent_id(space, agent, agents)
    if not flat:
        return space, transform
    add_id, flatten = transform, flattener(space)
    whole = flatten if add_id is None else lambda seen: flatten(add_id(seen))
    return flat_space(space), whole


def extended_by_id(observation: Any, agent_id: Any) -> dict[str, Any]:
    """Returns an observation, or a batch of them, with the agent's id beside it or in it."""
    if isinstance(observation, dict):
        return {**observation, AGENT_ID: agent_id}
    return {OBSERVATION: observation, AGENT_ID: agent_id}


def central_critic_space(
    seen: Sequence[spaces.Space] | spaces.Space, num_agents: int, *, with_id: bool
) -> spaces.Dict:
    """Returns the space of what a critic reads that sees more than its agent does.

    Args:
        seen: the observation spaces of all agents, or the space of the environment's state.
        num_agents: how many agents there may be.
        with_id: it values several agents, and so reads which of them is meant.
    """
    flags = spaces.MultiBinary(num_agents)
    parts: dict[str, spaces.Space]
    parts = {STATE: seen} if isinstance(seen, spaces.Space) else {OF_ALL: spaces.Tuple(seen)}
    parts[THERE] = flags
    return spaces.Dict(parts | ({AGENT_ID: flags} if with_id else {}))


def _with_agent_id(
    space: spaces.Space, agent: str, agents: Sequence[str]
) -> tuple[spaces.Dict, Transform]:
    one_hot = np.eye(len(agents), dtype=np.float32)[agents.index(agent)]
    one_hot.flags.writeable = False  # one array is in every observation
    id_space = spaces.Box(0.0, 1.0, one_hot.shape, np.float32)
    parts = space.spaces if isinstance(space, spaces.Dict) else space
    if isinstance(parts, dict) and AGENT_ID in parts:
        raise EnvError(f"the observation of {agent} has an entry {AGENT_ID!r} already")
    return spaces.Dict(extended_by_id(parts, id_space)), lambda seen: extended_by_id(seen, one_hot)
