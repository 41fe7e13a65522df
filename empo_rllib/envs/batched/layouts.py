"""Which kernel draws the first states of which of upstream's own environments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from empo_rllib.envs.batched.layout_kernels import (
    DONE,
    FIRST,
    NO_ROOM,
    NOT_CONNECTED,
    NUM_COLORS,
    PLAYGROUND_OBJECTS,
    THE_GOAL,
    THE_WALL,
    draw_blocked_unlock_pickup,
    draw_empty,
    draw_locked_hallway,
    draw_playground,
    draw_red_blue_doors,
)
from empo_rllib.envs.batched.placing import Blank
from empo_rllib.envs.batched.state import (
    DOOR,
    GOAL,
    NOTHING,
    WALL,
    Worlds,
    read_layout,
    with_room_for,
)
from empo_rllib.envs.multigrid import MultiGridParallelEnv

from multigrid.base import MultiGridEnv  # isort: skip
from multigrid.core.constants import Color  # isort: skip
from multigrid.core.world_object import Goal, Wall, WorldObj  # isort: skip
from multigrid.envs import (  # isort: skip
    BlockedUnlockPickupEnv,
    EmptyEnv,
    LockedHallwayEnv,
    PlaygroundEnv,
    RedBlueDoorsEnv,
)

_FAILURES = {
    NO_ROOM: "rejection sampling failed in place_obj",
    NOT_CONNECTED: "connect_all() failed",
}


class NativeLayout:
    """Draws first states for one environment class.

    Args:
        kernel: Draws them.
        parameters: What the kernel needs to know of the environment.
        num_things: How many things it creates at most.
        template: An environment of the class that has been reset.
    """

    def __init__(
        self,
        kernel: Callable[..., int],
        parameters: tuple[int, ...],
        num_things: int,
        template: MultiGridParallelEnv,
    ) -> None:
        self._kernel = kernel
        self._parameters = parameters
        self._num_things = num_things
        self._template = template
        self._blank = _blank(template.env.grid.state[..., WorldObj.TYPE], num_things)

    def prepare(self, worlds: Worlds) -> Worlds:
        """Fills in what is the same in all copies and episodes; returns `worlds`, enlarged."""
        worlds = with_room_for(worlds, FIRST + self._num_things)
        read_layout(worlds, 0, self._template)
        worlds.agents[:] = worlds.agents[0]
        worlds.episodes[:] = worlds.episodes[0]
        for index, thing in ((THE_WALL, Wall()), (THE_GOAL, Goal())):
            worlds.things[:, index] = (*thing, NOTHING, False)
        return worlds

    def draw(self, worlds: Worlds, chosen: np.ndarray) -> None:
        """Draws a first state for the `chosen` copies, bool [N].

        Raises:
            EnvError: there is no room for the agents or objects.
        """
        failure = self._kernel(worlds, self._blank, chosen, self._parameters)
        if failure != DONE:
            raise self._template.no_room(_FAILURES[failure])


def has_native_layout(env: MultiGridParallelEnv) -> bool:
    """Whether kernels draw the layouts of `env`."""
    return type(env.env) in _PLANS and len(Color) == NUM_COLORS


def native_layout(template: MultiGridParallelEnv) -> NativeLayout | None:
    """Returns the layouts of exactly the class of `template`; None where only Python has them."""
    if not has_native_layout(template):
        return None
    kernel, parameters, num_things = _PLANS[type(template.env)](template.env)
    return NativeLayout(kernel, parameters, num_things, template)


def _blank(kinds: np.ndarray, num_things: int) -> Blank:
    """Returns a layout of `kinds` [X, Y] without what is drawn anew; doors were walls."""
    cells = np.full((*kinds.shape, WorldObj.dim), WorldObj.empty(), np.uint8)
    objects = np.full(kinds.shape, NOTHING, np.int32)
    walls, goals = (kinds == WALL) | (kinds == DOOR), kinds == GOAL
    cells[walls], cells[goals] = Wall(), Goal()
    objects[walls], objects[goals] = THE_WALL, THE_GOAL
    # Kernels list rooms, their sides and colours; each room has a thing or two.
    return Blank(cells, objects, np.zeros(3 * num_things + 3 * NUM_COLORS, np.int64))


# What the kernel of a class is, its parameters, and how many things it creates at most.


def _plan_empty(grid: EmptyEnv) -> tuple:
    position, direction = grid.agent_start_pos, grid.agent_start_dir
    if position is None or direction is None:
        return draw_empty, (NOTHING, NOTHING, NOTHING), 0
    return draw_empty, (int(position[0]), int(position[1]), int(direction)), 0


def _plan_red_blue_doors(grid: RedBlueDoorsEnv) -> tuple:
    return draw_red_blue_doors, (grid.width, grid.height), 2


def _plan_blocked_unlock_pickup(grid: BlockedUnlockPickupEnv) -> tuple:
    return draw_blocked_unlock_pickup, (grid.room_size,), 4


def _plan_playground(grid: PlaygroundEnv) -> tuple:
    shape = grid.room_size, grid.num_cols, grid.num_rows
    return draw_playground, shape, 2 * grid.num_cols * grid.num_rows + PLAYGROUND_OBJECTS


def _plan_locked_hallway(grid: LockedHallwayEnv) -> tuple:
    keys = grid.max_hallway_keys, grid.max_keys_per_room
    return draw_locked_hallway, (grid.room_size, grid.num_rooms, *keys), 2 * grid.num_rooms


_PLANS: dict[type[MultiGridEnv], Callable[[Any], tuple]] = {
    EmptyEnv: _plan_empty,
    RedBlueDoorsEnv: _plan_red_blue_doors,
    BlockedUnlockPickupEnv: _plan_blocked_unlock_pickup,
    PlaygroundEnv: _plan_playground,
    LockedHallwayEnv: _plan_locked_hallway,
}
