"""Many copies of one environment that step together and speak in arrays.

A `VectorEnv` has N copies of an environment with A possible agents. An agent keeps its column
for good, whether it is there or not. Observations are arrays per leaf of the observation space,
for each group of agents that share their spaces.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import getitem
from typing import Any

import gymnasium as gym
import numpy as np

#: The leaves of a batched observation, in the order of `ObservationLeaves`.
Leaves = tuple[np.ndarray, ...]

#: Spaces whose elements fit into arrays: actions, and the leaves of observations.
ARRAY_SPACES = (
    gym.spaces.Discrete,
    gym.spaces.MultiDiscrete,
    gym.spaces.MultiBinary,
    gym.spaces.Box,
)


class ObservationLeaves:
    """How an observation of `space`, nested as it may be, is kept as a tuple of arrays.

    Attributes:
        shapes: shape of each leaf of one observation.
        dtypes: dtype of each leaf, as RLModules get it (that of the space).
        kinds: the classes of the leaves' spaces.
    """

    def __init__(self, space: gym.Space) -> None:
        self.space = space
        found = list(space_leaves(space))
        self._paths = [path for path, _ in found]
        self.shapes = [tuple(leaf.shape or ()) for _, leaf in found]
        self.dtypes = [np.dtype(leaf.dtype) for _, leaf in found]
        self._spaces = [leaf for _, leaf in found]
        self.kinds = {type(leaf) for leaf in self._spaces}

    def flatten(self, observation: Any) -> list[Any]:
        """Returns the leaves of one observation."""
        return [functools.reduce(getitem, path, observation) for path in self._paths]

    def unflatten(self, leaves: Sequence[Any]) -> Any:
        """Returns `leaves` (arrays or tensors) nested as the space is."""
        return _nest(self.space, iter(leaves))

    def blank(self, *shape: int) -> Leaves:
        """Returns arrays with the leading dimensions `shape`, filled with what is near zero.

        It is an observation of the space: networks are shown it for agents that are not there.
        """
        parts = zip(self._spaces, self.shapes, self.dtypes, strict=True)
        return tuple(
            np.broadcast_to(_near_zero(space), (*shape, *leaf)).astype(dtype)
            for space, leaf, dtype in parts
        )


@dataclass(frozen=True)
class AgentGroup:
    """Agents with the same spaces, whose observations and actions share arrays.

    Attributes:
        columns: their positions among all A agents, ascending.
    """

    columns: tuple[int, ...]
    observation_space: gym.Space
    action_space: gym.Space

    @cached_property
    def leaves(self) -> ObservationLeaves:
        """How their observations are kept."""
        return ObservationLeaves(self.observation_space)


def group_agents(
    agents: Sequence[str],
    observation_spaces: Mapping[str, gym.Space],
    action_spaces: Mapping[str, gym.Space],
) -> tuple[AgentGroup, ...]:
    """Returns the agents grouped by their spaces, in the order of each group's first agent."""
    groups: list[tuple[list[int], gym.Space, gym.Space]] = []
    for column, agent in enumerate(agents):
        spaces = observation_spaces[agent], action_spaces[agent]
        for columns, *known in groups:
            if spaces == tuple(known):
                columns.append(column)
                break
        else:
            groups.append(([column], *spaces))
    return tuple(AgentGroup(tuple(columns), seen, acts) for columns, seen, acts in groups)


class VectorEnv(ABC):
    """N copies of an environment. `reset` and `step` write into the arrays below, in place.

    An episode that ends is followed by a reset in the same step: `observations` are then the
    first of the next episode, and what the agents saw last is in `final_observations`.

    Attributes:
        num_envs: N.
        agents: the A possible agents; their order is that of the columns.
        groups: agents by their spaces; G groups with A_g agents each.
        observations: for each group its leaves [N, A_g, ...]: what agents see now. An agent that
            left in the last step, while its episode goes on, has its last observation there; one
            that waits, the one that it acted on.
        present: bool [N, A]: who acts in the next step: neither those that have left nor those that
            wait for an observation.
        there: bool [N, A]: who is in the episode and was given an observation in it: those that act
            and those that wait. The same array as `present` where nobody ever waits.
        rewards: float32 [N, A]: of the last step, also of those that waited; 0 for all others.
        terminated: bool [N, A]: ended for good with the last step.
        truncated: bool [N, A]: was cut off by the last step; never both.
        episode_over: bool [N]: the last step ended the episode.
        final_observations: for each group its leaves [N, A_g, ...]; rows of `episode_over` hold
            what the agents saw after the last step, the others are undefined.
        state_form: how the environment's `state()` is kept; None: it is not asked for.
        state: its leaves [N, ...], as it is now; none where it is not asked for.
        final_state: its leaves [N, ...]; rows of `episode_over` hold it after the last step.
        success: int8 [N]: where `episode_over`, 1 for a success, 0 for none, -1 where the
            environment does not tell.
    """

    num_envs: int
    agents: tuple[str, ...]
    groups: tuple[AgentGroup, ...]
    observations: tuple[Leaves, ...]
    present: np.ndarray
    there: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    episode_over: np.ndarray
    final_observations: tuple[Leaves, ...]
    state_form: ObservationLeaves | None
    state: Leaves
    final_state: Leaves
    success: np.ndarray

    @abstractmethod
    def reset(self, seed: int | None = None) -> None:
        """Starts an episode in every copy; `seed` repeats them and all that follow."""

    @abstractmethod
    def step(self, actions: Sequence[np.ndarray]) -> None:
        """Plays one step in every copy.

        Args:
            actions: for each group [N, A_g, ...], as its action space has them; those of agents
                that are not present are ignored.
        """

    @abstractmethod
    def close(self) -> None:
        """Frees what the copies hold."""

    def _allocate(
        self,
        num_envs: int,
        agents: Sequence[str],
        groups: Sequence[AgentGroup],
        state_space: gym.Space | None = None,
    ) -> None:
        """Creates the arrays."""
        self.num_envs, self.agents, self.groups = num_envs, tuple(agents), tuple(groups)
        shape = (num_envs, len(self.agents))
        sizes = [(group, len(group.columns)) for group in self.groups]
        self.observations = tuple(g.leaves.blank(num_envs, size) for g, size in sizes)
        self.final_observations = tuple(g.leaves.blank(num_envs, size) for g, size in sizes)
        self.state_form = None if state_space is None else ObservationLeaves(state_space)
        self.state = () if self.state_form is None else self.state_form.blank(num_envs)
        self.final_state = tuple(leaf.copy() for leaf in self.state)
        self.present = self.there = np.zeros(shape, bool)
        self.rewards = np.zeros(shape, np.float32)
        self.terminated = np.zeros(shape, bool)
        self.truncated = np.zeros(shape, bool)
        self.episode_over = np.zeros(num_envs, bool)
        self.success = np.full(num_envs, -1, np.int8)


def _parts(space: gym.Space) -> list[tuple[Any, gym.Space]] | None:
    if isinstance(space, gym.spaces.Dict):
        return list(space.spaces.items())
    if isinstance(space, gym.spaces.Tuple):
        return list(enumerate(space.spaces))
    return None


def space_leaves(space: gym.Space, path: tuple = ()) -> Iterator[tuple[tuple, gym.Space]]:
    """Yields the keys that lead to each leaf, and its space."""
    parts = _parts(space)
    if parts is None:
        yield path, space
        return
    for key, part in parts:
        yield from space_leaves(part, (*path, key))


def _near_zero(space: gym.Space) -> np.ndarray:
    if isinstance(space, gym.spaces.Box):
        return np.clip(np.zeros(space.shape), space.low, space.high)
    return np.asarray(getattr(space, "start", 0))  # Discrete, MultiDiscrete


def _nest(space: gym.Space, leaves: Any) -> Any:
    parts = _parts(space)
    if parts is None:
        return next(leaves)
    nested = {key: _nest(part, leaves) for key, part in parts}
    return tuple(nested.values()) if isinstance(space, gym.spaces.Tuple) else nested
