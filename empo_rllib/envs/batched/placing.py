"""Placing things and agents in a layout: `MultiGridEnv.place_obj` and what builds on it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from empo_rllib.envs.batched.kernel import part
from empo_rllib.envs.batched.random import below
from empo_rllib.envs.batched.state import DOOR, NOTHING, WALL, Worlds
from empo_rllib.envs.batched.step import put
from empo_rllib.envs.batched.view import front_of
from empo_rllib.envs.multigrid import MAX_PLACEMENT_TRIES

#: Of upstream's RoomGrid: tries to place something in a room.
ROOM_TRIES = 1000


class Blank(NamedTuple):
    """What a layout starts from: a grid with its walls and goal only.

    Attributes:
        cells: [X, Y, 3] and objects: [X, Y] as in `Worlds`.
        space: int64, for kernels to work in.
    """

    cells: np.ndarray
    objects: np.ndarray
    space: np.ndarray


class Area(NamedTuple):
    """A part of the grid, in cells."""

    left: int
    top: int
    width: int
    height: int


@part
def start_blank(worlds: Worlds, n: int, blank: Blank) -> None:
    """Starts an episode of copy `n` without things; agents are nowhere yet."""
    for x in range(blank.objects.shape[0]):  # numba takes seconds to compile `a[n] = b`
        for y in range(blank.objects.shape[1]):
            worlds.objects[n, x, y] = blank.objects[x, y]
            for i in range(3):
                worlds.cells[n, x, y, i] = blank.cells[x, y, i]
    episode = worlds.episodes[n]
    episode.step = episode.unlocked = 0
    episode.succeeded = episode.failed = False
    for a in range(worlds.agents.shape[1]):
        worlds.agents[n, a].carried = NOTHING
        worlds.agents[n, a].terminated = False
    gather_agents(worlds, n, NOTHING, NOTHING)


@part
def gather_agents(worlds: Worlds, n: int, x: int, y: int) -> None:
    """Puts all agents of copy `n` into one place."""
    for a in range(worlds.agents.shape[1]):
        worlds.agents[n, a].x, worlds.agents[n, a].y = x, y


@part
def create(worlds: Worlds, n: int, index: int, kind: int, color: int, state: int) -> None:
    """Makes the thing `index` of copy `n`."""
    thing = worlds.things[n, index]
    thing.kind, thing.color, thing.state = kind, color, state
    thing.contents, thing.counted = NOTHING, False


@part
def place(worlds: Worlds, n: int, index: int, area: Area, apart: bool, tries: int) -> bool:
    """Puts a thing into a random free cell of `area`; False when there is none.

    Args:
        worlds: The state.
        n: Which copy.
        index: The thing.
        area: Where.
        apart: Not next to an agent (upstream's `reject_next_to`).
        tries: How many cells to try.
    """
    x, y = _find_cell(worlds, n, area, apart, tries)
    if x != NOTHING:
        put(worlds, n, index, x, y)
    return x != NOTHING


@part
def place_agent(worlds: Worlds, n: int, a: int, area: Area, tries: int) -> bool:
    """Puts agent `a` into a random free cell of `area`, in any direction; False if none is free."""
    agent = worlds.agents[n, a]
    agent.x = agent.y = NOTHING
    agent.x, agent.y = _find_cell(worlds, n, area, False, tries)
    agent.direction = below(worlds.episodes[n], 4)
    return agent.x != NOTHING


@part
def place_agent_in_room(worlds: Worlds, n: int, a: int, room: Area) -> bool:
    """Does what `RoomGrid.place_agent` does: nothing but a wall may be in front of the agent."""
    agent = worlds.agents[n, a]
    for _ in range(MAX_PLACEMENT_TRIES):  # upstream would search for ever
        if not place_agent(worlds, n, a, room, ROOM_TRIES):
            return False
        x, y = front_of(worlds, agent)
        index = worlds.objects[n, x, y]
        if index == NOTHING or worlds.things[n, index].kind == WALL:
            return True
    return False


@part
def place_door(
    worlds: Worlds, n: int, index: int, room: Area, direction: int, color: int, state: int
) -> tuple[int, int]:
    """Puts a new door somewhere into the wall of `room` in `direction`; returns where."""
    ahead_x, ahead_y = worlds.headings[direction, 0], worlds.headings[direction, 1]
    x = room.left + (room.width - 1 if ahead_x > 0 else 0)
    y = room.top + (room.height - 1 if ahead_y > 0 else 0)
    if ahead_x == 0:
        x += 1 + below(worlds.episodes[n], room.width - 2)
    else:
        y += 1 + below(worlds.episodes[n], room.height - 2)
    create(worlds, n, index, DOOR, color, state)
    put(worlds, n, index, x, y)
    return x, y


@part
def _find_cell(worlds: Worlds, n: int, area: Area, apart: bool, tries: int) -> tuple[int, int]:
    """Draws cells until one is free; `NOTHING` for both coordinates after too many."""
    episode, agents, objects = worlds.episodes[n], worlds.agents[n], worlds.objects[n]
    for _ in range(tries + 1):
        x = area.left + below(episode, area.width)
        y = area.top + below(episode, area.height)
        if objects[x, y] == NOTHING and not _is_near_agent(agents, x, y, apart):
            return x, y
    return NOTHING, NOTHING


@part
def _is_near_agent(agents: np.ndarray, x: int, y: int, apart: bool) -> bool:
    for b in range(len(agents)):
        distance = abs(agents[b].x - x) + abs(agents[b].y - y)
        if distance == 0 or (apart and distance == 1):
            return True
    return False
