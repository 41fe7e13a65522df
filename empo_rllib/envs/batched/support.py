"""Which environments `BatchedMultiGrid` can run, and why not the others."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
from pettingzoo import ParallelEnv

from empo_rllib.envs.batched.history import history_problem, snapshot
from empo_rllib.envs.batched.layouts import has_native_layout
from empo_rllib.envs.batched.state import CLASSES, UnsupportedLayoutError
from empo_rllib.envs.batched.view import MAX_VIEW_SIZE
from empo_rllib.envs.multigrid import MultiGridParallelEnv

from multigrid.base import MultiGridEnv  # isort: skip
from multigrid.core.agent import Agent  # isort: skip
from multigrid.core.roomgrid import RoomGrid  # isort: skip
from multigrid.envs import (  # isort: skip
    BlockedUnlockPickupEnv,
    EmptyEnv,
    LockedHallwayEnv,
    PlaygroundEnv,
    RedBlueDoorsEnv,
)

_UPSTREAM = (
    EmptyEnv,
    RedBlueDoorsEnv,
    BlockedUnlockPickupEnv,
    LockedHallwayEnv,
    PlaygroundEnv,
    RoomGrid,
    MultiGridEnv,
)

_RENDERING = {
    "close",
    "get_frame",
    "get_full_render",
    "get_pov_render",
    "metadata",
    "render",
    "render_mode",
}
_LAYOUT = {
    "add_distractors",
    "add_door",
    "add_object",
    "connect_all",
    "get_room",
    "place_agent",
    "place_in_room",
    "place_obj",
    "put_obj",
    "remove_wall",
    "room_from_pos",
}
#: Whatever else a class of the user's replaces may change what a step does.
_MAY_REPLACE = _RENDERING | _LAYOUT

#: What `MultiGridParallelEnv` itself replaces on the instance.
_WATCHED = {"on_failure", "on_success", "place_obj"}

#: What steps read of an instance; a property in its place may do anything.
_READ = {
    "agent_states",
    "agents",
    "allow_agent_overlap",
    "failure_termination_mode",
    "grid",
    "joint_reward",
    "max_steps",
    "num_agents",
    "step_count",
    "success_termination_mode",
}


def batched_problem(env: ParallelEnv) -> str | None:
    """Tells why `BatchedMultiGrid` should not run `env`, in a sentence; None if it should.

    The environment is reset and played, to see layouts.

    Raises:
        EnvError: its layout has no room for what it asks for.
    """
    return class_problem(env) or _layout_problem(env)


def class_problem(env: ParallelEnv) -> str | None:
    """Tells what of `env`, whatever its layouts, `BatchedMultiGrid` cannot run; None if nothing."""
    if type(env) is not MultiGridParallelEnv:
        return f"{_name(env)} is not a MultiGrid environment"
    if isinstance(env.env, gym.Wrapper):
        return f"{_name(env.env)} is a wrapper around the MultiGrid environment"
    for name in vars(env):
        if callable(getattr(MultiGridParallelEnv, name, None)):
            return f"{name}() of the environment was replaced on the instance"
    return _replaced(env.env) or _objects_problem(env) or _agents_problem(env.env)


def _name(instance: object) -> str:
    return type(instance).__name__


def _replaced(grid: MultiGridEnv) -> str | None:
    """Tells what `grid` or its classes have in place of something that a step does."""
    mro = type(grid).__mro__
    base = next(cls for cls in mro if cls in _UPSTREAM)
    for cls in mro:
        if cls in base.__mro__:
            continue
        if cls in _UPSTREAM:
            return f"{_name(grid)} inherits from both {base.__name__} and {cls.__name__}"
        for name in _meaningful(vars(cls)):
            if hasattr(base, name) or (name in _READ and isinstance(vars(cls)[name], property)):
                return f"{cls.__name__} overrides {name}" + _call_of(vars(cls)[name])
    for name in _meaningful(vars(grid)):
        if callable(getattr(base, name, None)) and name not in _WATCHED:
            return f"{_name(grid)} sets its own {name}() on the instance"
    return None


def _meaningful(attributes: Any) -> Iterator[str]:
    """Returns the names that are not Python's own, layouts' or rendering's."""
    for name in attributes:
        private_to_layouts = name.startswith(("_gen_", "_rand_", "_abc_"))
        if not (name.startswith("__") or private_to_layouts or name in _MAY_REPLACE):
            yield name


def _call_of(attribute: object) -> str:
    return "()" if isinstance(attribute, types.FunctionType) else ""


def _objects_problem(env: MultiGridParallelEnv) -> str | None:
    """Tells of a class of the user's that upstream takes for one of its own kinds of objects."""
    for cls, kind in CLASSES.items():
        found = env.object_types.classes[kind]
        if found is not cls:
            return f"{found.__name__} takes the place of multigrid's {cls.__name__}"
    return None


def _agents_problem(grid: MultiGridEnv) -> str | None:
    for agent in grid.agents:
        if type(agent) is not Agent:
            return f"{_name(grid)} has an agent of the class {_name(agent)}"
    sizes = {agent.view_size for agent in grid.agents}
    if len(sizes) > 1:
        return f"the agents of {_name(grid)} have views of different sizes"
    if max(sizes) > MAX_VIEW_SIZE:
        return f"the view of {max(sizes)} cells is larger than {MAX_VIEW_SIZE}"
    return None


def _layout_problem(env: MultiGridParallelEnv) -> str | None:
    """Tells what in layouts the kernels do not know, or what these follow from but the seed."""
    try:
        if has_native_layout(env):
            env.lay_out()
            snapshot(env)
            return None
        return history_problem(env)
    except UnsupportedLayoutError as error:
        return f"{_name(env.env)}: {error}"
