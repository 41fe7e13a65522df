"""The state of all copies as arrays, and how a Python environment's state gets into them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

# Before `multigrid`, as everywhere here; see there.
from empo_rllib.envs.multigrid import MultiGridParallelEnv

from multigrid.core.constants import State, Type  # isort: skip
from multigrid.core.grid import Grid  # isort: skip
from multigrid.core.world_object import (  # isort: skip
    Ball,
    Box,
    Door,
    Floor,
    Goal,
    Key,
    Lava,
    Wall,
    WorldObj,
    WorldObjMeta,
)

EMPTY, WALL, FLOOR, DOOR = (int(Type[name]) for name in ("empty", "wall", "floor", "door"))
KEY, BALL, BOX = (int(Type[name]) for name in ("key", "ball", "box"))
GOAL, LAVA, AGENT = (int(Type[name]) for name in ("goal", "lava", "agent"))
OPEN, CLOSED, LOCKED = (int(State[name]) for name in ("open", "closed", "locked"))

#: The colour of the walls that agents see outside the grid.
OUTSIDE_COLOR = int(Wall()[WorldObj.COLOR])

#: In place of the index of a thing: there is none.
NOTHING = -1

#: Upstream's classes of objects; kernels know what these do.
CLASSES = {Wall: WALL, Floor: FLOOR, Door: DOOR, Key: KEY, Ball: BALL, Box: BOX}
CLASSES |= {Goal: GOAL, Lava: LAVA}

#: What may stand at the border: no agent gets from there to the outside.
_BORDER = (WALL, GOAL, LAVA)
_CHANGEABLE = (DOOR, KEY, BALL, BOX)

AGENT_FIELDS = np.dtype(
    [
        ("x", np.int32),
        ("y", np.int32),
        ("direction", np.int32),
        ("color", np.int32),
        ("carried", np.int32),  # index of a thing
        ("terminated", np.bool_),
        ("reward", np.float64),  # of this step, in upstream's precision
    ],
    align=True,
)
THING_FIELDS = np.dtype(
    [
        ("kind", np.int32),
        ("color", np.int32),
        ("state", np.int32),  # the true one: cells show what upstream's grid shows
        ("contents", np.int32),  # index of a thing
        ("counted", np.bool_),  # LockedHallway has paid for this door
    ],
    align=True,
)
_THING_NAMES = list(THING_FIELDS.names or ())
KIND, CONTENTS, COUNTED = map(_THING_NAMES.index, ("kind", "contents", "counted"))

EPISODE_FIELDS = np.dtype(
    [
        ("stream", np.uint64),
        ("step", np.int64),
        ("max_steps", np.int64),
        ("overlap", np.bool_),
        ("joint_reward", np.bool_),
        ("success_any", np.bool_),
        ("failure_any", np.bool_),
        ("see_through", np.bool_),
        ("succeeded", np.bool_),  # upstream's on_success was called
        ("failed", np.bool_),
        ("target", np.int32),  # the thing whose state or owner decides; see rules.py
        ("condition", np.int32),  # the thing that must be open before
        ("unlocked", np.int32),
        ("to_unlock", np.int32),
    ],
    align=True,
)


class Worlds(NamedTuple):
    """N copies of a grid of X by Y cells, with A agents and room for M things each.

    Things are told apart by their index, as upstream tells objects apart by identity.

    Attributes:
        cells: uint8 [N, X, Y, 3]: upstream's `Grid.state`, which is what agents see.
        objects: int32 [N, X, Y]: upstream's `Grid.get`: the index of the thing or `NOTHING`.
        things: THING_FIELDS [N, M].
        agents: AGENT_FIELDS [N, A].
        episodes: EPISODE_FIELDS [N].
        orders: int64 [N, A]: who acts when.
        missions: int64 [N, A, K]: the observed missions; K is 0 where there is only one.
        headings: int64 [4, 2]: where each direction leads.
        covered: uint8 [A, 3] and sight: uint64 [V]: space for `view.observe`.
    """

    cells: np.ndarray
    objects: np.ndarray
    things: np.ndarray
    agents: np.ndarray
    episodes: np.ndarray
    orders: np.ndarray
    missions: np.ndarray
    headings: np.ndarray
    covered: np.ndarray
    sight: np.ndarray


class UnsupportedLayoutError(Exception):
    """A layout has something that the kernels do not know; the text says what, for the user."""


def allocate(env: MultiGridParallelEnv, num_envs: int, missions: np.ndarray) -> Worlds:
    """Returns the arrays for copies of `env`, which has been reset."""
    grid = env.env
    num_agents = grid.num_agents
    size = grid.grid.state.shape[:2]
    return Worlds(
        cells=np.zeros((num_envs, *size, WorldObj.dim), np.uint8),
        objects=np.full((num_envs, *size), NOTHING, np.int32),
        things=np.zeros((num_envs, 1), THING_FIELDS),
        agents=np.zeros((num_envs, num_agents), AGENT_FIELDS),
        episodes=np.zeros(num_envs, EPISODE_FIELDS),
        orders=np.tile(np.arange(num_agents), (num_envs, 1)),
        missions=missions,
        headings=np.array([(1, 0), (0, 1), (-1, 0), (0, -1)]),
        covered=np.zeros((num_agents, WorldObj.dim), np.uint8),
        sight=np.zeros(grid.agents[0].view_size, np.uint64),
    )


def with_room_for(worlds: Worlds, num_things: int) -> Worlds:
    """Returns `worlds` with M of at least `num_things`."""
    missing = num_things - worlds.things.shape[1]
    if missing <= 0:
        return worlds
    return worlds._replace(things=np.pad(worlds.things, ((0, 0), (0, missing))))


class Catalogue:
    """The things of one layout; an object has one index, wherever it is.

    Attributes:
        rows: a list with the values of THING_FIELDS for each thing.
    """

    def __init__(self) -> None:
        self.rows: list[list[int]] = []
        self._indices: dict[Any, int] = {}

    def index_of(self, thing: WorldObj | None) -> int:
        """Returns the index of an object, which is added with all that it contains."""
        if thing is None:
            return NOTHING
        if id(thing) not in self._indices:
            _check_class(type(thing), thing[WorldObj.TYPE])
            index = self._add(id(thing), thing)
            if isinstance(thing, Box):
                self.rows[index][CONTENTS] = self.index_of(thing.contains)
        return self._indices[id(thing)]

    def index_of_cell(self, position: tuple[int, int], encoding: np.ndarray) -> int:
        """Returns the index of what a cell shows where no object has been set.

        Upstream makes one of its own from each such cell, on first use.
        """
        kind, *_ = values = tuple(encoding.tolist())
        if kind == EMPTY:
            return NOTHING
        key = (position, values) if kind in _CHANGEABLE else values
        if key not in self._indices:
            _check_class(WorldObjMeta._TYPE_IDX_TO_CLASS.get(kind, WorldObj), kind)
            self._add(key, values)
        return self._indices[key]

    def _add(self, key: Any, encoding: Any) -> int:
        self._indices[key] = index = len(self.rows)
        self.rows.append([*map(int, encoding), NOTHING, False])
        return index


def _check_class(found: type, kind: int) -> None:
    if CLASSES.get(found, NOTHING) != kind:
        raise UnsupportedLayoutError(f"its layout has objects of type {found.__name__}")


def read_layout(worlds: Worlds, n: int, env: MultiGridParallelEnv) -> Catalogue:
    """Copies what `env`, which has been reset, looks like now into copy `n`, except its things.

    Raises:
        UnsupportedLayoutError: the layout has something that kernels do not know.
    """
    grid = env.env
    catalogue = Catalogue()
    with env.object_types.active():
        _read_grid(worlds, n, grid.grid, catalogue)
    for agent, source in zip(worlds.agents[n], grid.agents, strict=True):
        state = source.state
        agent["x"], agent["y"] = state.pos
        agent["direction"] = state.dir
        agent["color"] = state.color.to_index()
        agent["carried"] = catalogue.index_of(state.carrying)
        agent["terminated"] = state.terminated
    _check_border(worlds, n, catalogue)
    _read_options(worlds.episodes[n], grid)
    return catalogue


def write_things(worlds: Worlds, n: int, catalogue: Catalogue) -> Worlds:
    """Copies the things of a layout into copy `n`; returns `worlds`, larger if need be."""
    worlds = with_room_for(worlds, len(catalogue.rows))
    for index, row in enumerate(catalogue.rows):
        worlds.things[n, index] = tuple(row)
    return worlds


def _read_grid(worlds: Worlds, n: int, grid: Grid, catalogue: Catalogue) -> None:
    if type(grid) is not Grid or grid.state.shape != worlds.cells.shape[1:]:
        raise UnsupportedLayoutError(
            f"its layout is a {type(grid).__name__} of {grid.width} by {grid.height} cells, not a "
            f"Grid of {worlds.cells.shape[1]} by {worlds.cells.shape[2]}"
        )
    worlds.cells[n] = grid.state
    for position in np.ndindex(grid.state.shape[:2]):
        if position in grid.world_objects:
            index = catalogue.index_of(grid.world_objects[position])
        else:
            index = catalogue.index_of_cell(position, grid.state[position])
        worlds.objects[n][position] = index


def _read_options(episode: Any, grid: Any) -> None:
    if grid.max_steps < 1:  # rewards are divided by it, and all others are finite
        raise UnsupportedLayoutError(f"its max_steps is {grid.max_steps}")
    episode["step"] = grid.step_count
    episode["max_steps"] = grid.max_steps
    episode["overlap"] = grid.allow_agent_overlap
    episode["joint_reward"] = grid.joint_reward
    episode["success_any"] = grid.success_termination_mode == "any"
    episode["failure_any"] = grid.failure_termination_mode == "any"
    episode["see_through"] = grid.agents[0].see_through_walls
    episode["succeeded"] = episode["failed"] = False


def _check_border(worlds: Worlds, n: int, catalogue: Catalogue) -> None:
    """Refuses layouts where an agent can look over the border: upstream wraps round or raises."""
    inside = np.zeros(worlds.objects.shape[1:], bool)
    inside[1:-1, 1:-1] = True
    kinds = {
        NOTHING if i == NOTHING else catalogue.rows[i][KIND] for i in worlds.objects[n][~inside]
    }
    agents = worlds.agents[n]
    if not kinds.issubset(_BORDER) or not inside[agents["x"], agents["y"]].all():
        raise UnsupportedLayoutError("its layout is open at the border of the grid")
