"""MultiGrid environments as PettingZoo environments.

`multigrid` 0.1.0 has a wrapper of its own, which fails PettingZoo's tests for every environment:
agents are integers, observations are not of their spaces, and a seed does not repeat a layout.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn, cast

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from empo_rllib.envs.object_types import ObjectTypes
from empo_rllib.errors import EnvError

# `multigrid` imports pygame, whose greeting `pettingzoo` switches off: keep this order.
from multigrid.base import MultiGridEnv  # isort: skip
from multigrid.core.actions import Action  # isort: skip
from multigrid.core.constants import Color, Direction, State  # isort: skip
from multigrid.core.mission import MissionSpace  # isort: skip
from multigrid.core.world_object import WorldObj  # isort: skip

#: Tries to find a free cell for one object before a layout counts as impossible. Upstream tries
#: for ever, so that too many agents would hang the reset.
MAX_PLACEMENT_TRIES = 10_000


class MultiGridParallelEnv(ParallelEnv):
    """A `multigrid.MultiGridEnv` that passes PettingZoo's tests.

    Agents:
        `agent_0`, `agent_1`, ... An agent that finishes leaves; the episode ends when all have
        left, or for everybody at the environment's `max_steps`.
    Observations:
        A Dict of `direction` (0 right, 1 down, 2 left, 3 up), `image` (uint8, shape (view, view,
        3): type, colour and state of each cell, in upstream's orientation) and, only where the
        environment has several missions, `mission` (MultiDiscrete: the choice for each blank of
        the mission's sentence). The mission is the one that the episode rewards; upstream shows
        agents of BlockedUnlockPickup another one, drawn without regard to the layout.
    Actions:
        Discrete(7): left, right, forward, pickup, drop, toggle, done.
    Rewards:
        Upstream's. An agent that has left gets none, also with `joint_reward`.
    Infos:
        In the step that ends the episode, `success` for every agent still there: True when the
        mission was completed, False when it failed or the time ran out.
    Seeds:
        `reset(seed)` repeats layout, mission and order of action exactly, and so does every
        unseeded reset after it.

    Args:
        env: the environment to wrap, or a Gymnasium wrapper around one; closed with this one.
        name: what `metadata["name"]` says; the class's name by default.

    Attributes:
        object_types: the types of objects that there may be, whatever else the process imports.
    """

    def __init__(self, env: MultiGridEnv | gym.Wrapper, name: str | None = None) -> None:
        self.env: Any = env  # Gymnasium's types know one agent only
        self._grid = cast("MultiGridEnv", env.unwrapped)
        self.metadata = {
            **self._grid.metadata,
            "name": name or type(self._grid).__name__,
            "is_parallelizable": True,
        }
        self.possible_agents = [f"agent_{i}" for i in range(self._grid.num_agents)]
        self.agents: list[str] = []
        self._index = {agent: i for i, agent in enumerate(self.possible_agents)}
        self._all_done = dict.fromkeys(range(self._grid.num_agents), int(Action.done))
        self._episode_seeds = np.random.default_rng()
        self._missions = _mission_indices(self._grid.mission_space)
        self._mission: np.ndarray | None = None
        self.object_types = ObjectTypes(type(self._grid))
        self._observation_spaces = self._build_observation_spaces()
        self._action_spaces: dict[str, spaces.Discrete] = {
            agent: spaces.Discrete(len(Action)) for agent in self.possible_agents
        }
        self._outcomes = {"on_success": 0, "on_failure": 0}
        self._watch_outcomes()
        _bound_placement(self._grid)

    @property
    def render_mode(self) -> str | None:
        """`human`, `rgb_array` or None, as given to the wrapped environment."""
        return self._grid.render_mode

    def observation_space(self, agent: str) -> spaces.Dict:
        """Returns the observation space of `agent`, the same object each time."""
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Discrete:
        """Returns the action space of `agent`, the same object each time."""
        return self._action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
        """Starts an episode with all agents.

        Args:
            seed: repeats the episode, and those that follow it without a seed.
            options: nothing; there for the interface.

        Raises:
            EnvError: the grid has no room for the agents or objects asked for.
        """
        upstream = self._begin(seed)
        observations = {a: self._observe(upstream[i]) for a, i in self._index.items()}
        return observations, {agent: {} for agent in self.agents}

    def lay_out(self, seed: int | None = None) -> None:
        """Starts an episode as `reset` does, for those who look at the grid and not through agents.

        Upstream's observations come from a kernel that compiles for ten seconds, once a machine,
        and that a run needs nowhere else when its own kernels step the environment.

        Raises:
            EnvError: as `reset`.
        """
        if self.env is not self._grid or type(self._grid).reset is not MultiGridEnv.reset:
            self._begin(seed)  # what is there may need observations
            return
        self._grid.gen_obs = dict
        try:
            self._begin(seed)
        finally:
            del self._grid.gen_obs

    def look(self) -> dict[str, dict[str, Any]]:
        """Returns what the agents see, as `step` and `reset` do."""
        with self.object_types.active():
            upstream = self._grid.gen_obs()
        return {agent: self._observe(upstream[self._index[agent]]) for agent in self.agents}

    @property
    def mission(self) -> np.ndarray | None:
        """The episode's mission as in observations; None where there is only one."""
        return self._mission

    def _begin(self, seed: int | None) -> dict[int, dict[str, Any]]:
        """Resets upstream's environment; returns its observations."""
        if seed is not None:
            self._episode_seeds = np.random.default_rng(seed)
        try:
            with self.object_types.active():
                upstream, _ = self.env.reset(seed=self._seed_episode())
        except RecursionError as error:
            raise self.no_room(error) from error
        self.agents = self.possible_agents[:]
        self._outcomes = dict.fromkeys(self._outcomes, 0)
        self._mission = self._current_mission()
        return cast("dict[int, dict[str, Any]]", upstream)

    def step(self, actions: dict[str, int]) -> tuple[dict, dict, dict, dict, dict]:
        """Plays one action per agent still there; after the end every part is empty."""
        agents, index = self.agents, self._index
        if not agents:
            return {}, {}, {}, {}, {}
        upstream_actions = self._all_done.copy()
        for agent in agents:
            upstream_actions[index[agent]] = int(actions[agent])
        with self.object_types.active():
            seen, paid, ended, timed_out, _ = self.env.step(upstream_actions)
        observations, rewards, terminations, truncations = {}, {}, {}, {}
        remaining = []
        for agent in agents:  # one loop, since this runs at every step
            i = index[agent]
            observations[agent] = self._observe(seen[i])
            rewards[agent] = float(paid[i])
            terminations[agent] = terminated = bool(ended[i])
            # An agent that finishes in the last step has finished; it was not cut off.
            truncations[agent] = truncated = bool(timed_out[i]) and not terminated
            if not (terminated or truncated):
                remaining.append(agent)
        self.agents = remaining
        info = {} if remaining else {"success": self._succeeded(truncations)}
        infos = {agent: info.copy() for agent in agents}
        return observations, rewards, terminations, truncations, infos

    def render(self) -> np.ndarray | None:
        """Returns the whole grid as uint8 pixels of shape (height, width, 3); `human` shows it."""
        if self.render_mode is None:
            return None
        with self.object_types.active():
            return self.env.render()

    def no_room(self, reason: object) -> EnvError:
        """Returns the error for layouts that could not be placed."""
        return EnvError(
            f"{self.metadata['name']}: the grid has no room for {len(self.possible_agents)} "
            f"agents and its objects ({reason}). Ask for fewer agents or a larger grid."
        )

    def close(self) -> None:
        """Closes the window, if there is one."""
        self.env.close()
        # Upstream keeps the handles of what it has just closed.
        self._grid.window = self._grid.clock = None

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a live MultiGrid environment cannot be pickled or copied: multigrid's agents lose "
            "their state on the way. Make a new one with make_env."
        )

    def _build_observation_spaces(self) -> dict[str, spaces.Dict]:
        built = {}
        for agent in self.possible_agents:
            upstream = self._grid.agents[self._index[agent]].observation_space
            parts: dict[str, spaces.Space] = {
                "direction": spaces.Discrete(len(Direction)),
                "image": _image_space(upstream["image"].shape, self.object_types.count),
            }
            if self._missions:
                parts["mission"] = spaces.MultiDiscrete(self._grid.mission_space.nvec)
            built[agent] = spaces.Dict(parts)
        return built

    def _observe(self, upstream: dict[str, Any]) -> dict[str, Any]:
        """Returns one agent's observation; the image is a copy of its own, 8 times smaller."""
        image = upstream["image"].astype(np.uint8)
        numbers = self.object_types.numbers
        if numbers is not None and image.shape[-1] == WorldObj.dim:
            image[..., WorldObj.TYPE] = numbers[image[..., WorldObj.TYPE]]
        observation = {"direction": upstream["direction"], "image": image}
        if self._mission is not None:
            observation["mission"] = self._mission
        return observation

    def _seed_episode(self) -> int:
        """Draws this episode's seed and gives upstream's layout code a generator made of it.

        `RandomMixin` keeps the generator it was constructed with, so that seeding a reset does
        not seed the layout (multigrid 0.1.0). The mission space is seeded by upstream itself, but
        only when a reset has a seed: therefore every reset gets one.
        """
        seed = int(self._episode_seeds.integers(2**31))
        self._grid._RandomMixin__np_random = np.random.default_rng([seed, 1])
        return seed

    def _current_mission(self) -> np.ndarray | None:
        if not self._missions:
            return None
        # BlockedUnlockPickup rewrites `mission` to fit its layout, after agents were told another.
        index = self._missions.get(str(self._grid.mission))
        return self._missions[str(self._grid.agents[0].mission)] if index is None else index

    def _watch_outcomes(self) -> None:
        """Counts upstream's calls of `on_success` and `on_failure` in this episode."""
        for name in self._outcomes:
            setattr(self._grid, name, self._counted(name, getattr(self._grid, name)))

    def _counted(self, name: str, upstream: Callable[..., None]) -> Callable[..., None]:
        def counted(*args: Any, **kwargs: Any) -> None:
            self._outcomes[name] += 1
            upstream(*args, **kwargs)

        return counted

    def _succeeded(self, truncations: dict[str, bool]) -> bool:
        """Tells whether the episode that has just ended completed the mission."""
        if any(truncations.values()):
            return False
        one_is_enough = self._grid.success_termination_mode == "any"
        failed = self._outcomes["on_failure"] > 0
        return not failed or (one_is_enough and self._outcomes["on_success"] > 0)


def _image_space(shape: tuple[int, ...], num_types: int) -> spaces.Box:
    """Returns a uint8 Box with the true upper bound of each channel of a cell's encoding."""
    top = [num_types - 1, len(Color) - 1, max(len(State), len(Direction)) - 1]
    high = np.broadcast_to(top if shape[-1] == len(top) else [255], shape).astype(np.uint8)
    return spaces.Box(np.zeros_like(high), high, dtype=np.uint8)


def _mission_indices(space: MissionSpace) -> dict[str, np.ndarray]:
    """Maps each mission's sentence to its index in `space`; empty when there is only one."""
    if math.prod(space.nvec) == 1:
        return {}
    indices = {str(space.get(i)): np.array(i, np.int64) for i in np.ndindex(tuple(space.nvec))}
    for index in indices.values():
        index.flags.writeable = False  # one array is in many observations
    return indices


def _bound_placement(grid: MultiGridEnv) -> None:
    """Makes upstream give up, with a RecursionError, where it would search for ever."""
    place_obj = grid.place_obj

    def place_obj_or_give_up(*args: Any, max_tries: float = math.inf, **kwargs: Any) -> Any:
        return place_obj(*args, max_tries=min(max_tries, MAX_PLACEMENT_TRIES), **kwargs)

    grid.place_obj = place_obj_or_give_up
