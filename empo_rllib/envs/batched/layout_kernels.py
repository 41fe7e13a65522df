"""First states of upstream's own environments, with the distribution of their `_gen_grid`.

Objects are placed as upstream places them, by drawing cells until one is free, so that the chance
that a layout fails is upstream's as well. Every `draw_` draws first states for the copies `chosen`
(bool [N]) and returns `DONE` or why it could not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from empo_rllib.envs.batched.kernel import kernel, part
from empo_rllib.envs.batched.placing import (
    ROOM_TRIES,
    Area,
    Blank,
    create,
    gather_agents,
    place,
    place_agent,
    place_agent_in_room,
    place_door,
    start_blank,
)
from empo_rllib.envs.batched.random import below, shuffle
from empo_rllib.envs.batched.state import BALL, BOX, CLOSED, DOOR, KEY, LOCKED, NOTHING, Worlds
from empo_rllib.envs.batched.step import put
from empo_rllib.envs.multigrid import MAX_PLACEMENT_TRIES

from multigrid.core.constants import Color, Direction  # isort: skip

DONE, NO_ROOM, NOT_CONNECTED = range(3)

#: Things that all copies have in common, and the index of the first other one.
THE_WALL, THE_GOAL, FIRST = range(3)

NUM_COLORS = 6
PLAYGROUND_OBJECTS = 12

_PLAYGROUND_KINDS = (KEY, BALL, BOX)
_CONNECT_TRIES = 5000  # of `RoomGrid.connect_all`
_RED, _BLUE = Color.red.to_index(), Color.blue.to_index()
_RIGHT, _LEFT = int(Direction.right), int(Direction.left)


@kernel
def draw_empty(
    worlds: Worlds, blank: Blank, chosen: np.ndarray, start: tuple[int, int, int]
) -> int:
    """Draws for EmptyEnv; `start` is x, y, direction, or `NOTHING` where they are random."""
    x, y, direction = start
    everywhere = Area(0, 0, worlds.cells.shape[1], worlds.cells.shape[2])
    for n in range(len(chosen)):
        if not chosen[n]:
            continue
        start_blank(worlds, n, blank)
        gather_agents(worlds, n, x, y)
        for a in range(worlds.agents.shape[1]):
            worlds.agents[n, a].direction = direction
            if x == NOTHING and not place_agent(worlds, n, a, everywhere, MAX_PLACEMENT_TRIES):
                return NO_ROOM
    return DONE


@kernel
def draw_red_blue_doors(
    worlds: Worlds, blank: Blank, chosen: np.ndarray, size: tuple[int, int]
) -> int:
    """Draws for RedBlueDoorsEnv, of that width and height."""
    width, height = size
    room = Area(width // 4, 0, width // 2, height)
    for n in range(len(chosen)):
        if not chosen[n]:
            continue
        start_blank(worlds, n, blank)
        for a in range(worlds.agents.shape[1]):
            if not place_agent(worlds, n, a, room, MAX_PLACEMENT_TRIES):
                return NO_ROOM
        red, blue = FIRST, FIRST + 1
        place_door(worlds, n, red, room, _LEFT, _RED, CLOSED)
        place_door(worlds, n, blue, room, _RIGHT, _BLUE, CLOSED)
        worlds.episodes[n].condition, worlds.episodes[n].target = red, blue
    return DONE


@kernel
def draw_blocked_unlock_pickup(
    worlds: Worlds, blank: Blank, chosen: np.ndarray, room_size: tuple[int]
) -> int:
    """Draws for BlockedUnlockPickupEnv."""
    size = room_size[0]
    left_room, right_room = Area(0, 0, size, size), Area(size - 1, 0, size, size)
    box, door, ball, key = FIRST, FIRST + 1, FIRST + 2, FIRST + 3
    for n in range(len(chosen)):
        if not chosen[n]:
            continue
        episode = worlds.episodes[n]
        start_blank(worlds, n, blank)
        gather_agents(worlds, n, size - 1 + size // 2, size // 2)
        create(worlds, n, box, BOX, below(episode, NUM_COLORS), 0)
        if not place(worlds, n, box, right_room, True, ROOM_TRIES):
            return NO_ROOM
        color = below(episode, NUM_COLORS)
        x, y = place_door(worlds, n, door, left_room, _RIGHT, color, LOCKED)
        create(worlds, n, ball, BALL, below(episode, NUM_COLORS), 0)
        put(worlds, n, ball, x - 1, y)
        create(worlds, n, key, KEY, color, 0)
        if not place(worlds, n, key, left_room, True, ROOM_TRIES):
            return NO_ROOM
        for a in range(worlds.agents.shape[1]):
            if not place_agent_in_room(worlds, n, a, left_room):
                return NO_ROOM
            # "pick up the {color} {box or key}": it always is the box.
            worlds.missions[n, a, 0], worlds.missions[n, a, 1] = worlds.things[n, box].color, 0
        episode.target = box
    return DONE


@kernel
def draw_playground(
    worlds: Worlds, blank: Blank, chosen: np.ndarray, shape: tuple[int, int, int]
) -> int:
    """Draws for PlaygroundEnv, with rooms of that size in so many columns and rows."""
    size, columns, rows = shape
    middle_x = columns // 2 * (size - 1) + size // 2
    middle_y = rows // 2 * (size - 1) + size // 2
    for n in range(len(chosen)):
        if not chosen[n]:
            continue
        episode = worlds.episodes[n]
        start_blank(worlds, n, blank)
        gather_agents(worlds, n, middle_x, middle_y)
        index = _connect_rooms(worlds, n, shape, blank.space)
        if index == NOTHING:
            return NOT_CONNECTED
        for _ in range(PLAYGROUND_OBJECTS):
            room = _random_room(episode, shape)
            kind = _PLAYGROUND_KINDS[below(episode, len(_PLAYGROUND_KINDS))]
            create(worlds, n, index, kind, below(episode, NUM_COLORS), 0)
            if not place(worlds, n, index, room, True, ROOM_TRIES):
                return NO_ROOM
            index += 1
        for a in range(worlds.agents.shape[1]):
            if not place_agent_in_room(worlds, n, a, _random_room(episode, shape)):
                return NO_ROOM
    return DONE


@part
def _random_room(episode: Any, shape: tuple[int, int, int]) -> Area:
    size, columns, rows = shape
    column, row = below(episode, columns), below(episode, rows)
    return Area(column * (size - 1), row * (size - 1), size, size)


@part
def _connect_rooms(worlds: Worlds, n: int, shape: tuple[int, int, int], space: np.ndarray) -> int:
    """Adds doors until every room can be reached, as `RoomGrid.connect_all`.

    Returns:
        The index after the last door's, or `NOTHING` when upstream would give up.
    """
    size, columns, rows = shape
    episode, headings = worlds.episodes[n], worlds.headings
    num_parts, index = columns * rows, FIRST
    parts, doors = space[:num_parts], space[num_parts : 5 * num_parts]
    doors[:] = False  # [room, direction]
    for room in range(num_parts):
        parts[room] = room  # rooms that are connected are of one part
    for _ in range(_CONNECT_TRIES):
        if num_parts == 1:
            return index
        column, row = below(episode, columns), below(episode, rows)
        direction = below(episode, 4)
        next_column, next_row = column + headings[direction, 0], row + headings[direction, 1]
        exists = 0 <= next_column < columns and 0 <= next_row < rows
        room, next_room = column + row * columns, next_column + next_row * columns
        if not exists or doors[4 * room + direction]:
            continue
        doors[4 * room + direction] = doors[4 * next_room + (direction + 2) % 4] = True
        area = Area(column * (size - 1), row * (size - 1), size, size)
        place_door(worlds, n, index, area, direction, below(episode, NUM_COLORS), CLOSED)
        index += 1
        num_parts -= parts[room] != parts[next_room]
        _join(parts, parts[room], parts[next_room])
    return NOTHING


@part
def _join(parts: np.ndarray, one: int, other: int) -> None:
    for room in range(len(parts)):
        if parts[room] == other:
            parts[room] = one


@kernel
def draw_locked_hallway(
    worlds: Worlds, blank: Blank, chosen: np.ndarray, options: tuple[int, int, int, int]
) -> int:
    """Draws for LockedHallwayEnv."""
    size, num_rooms, max_hallway_keys, max_room_keys = options
    hallway = Area(size - 1, 0, size, worlds.cells.shape[2])
    middle_x, middle_y = size - 1 + size // 2, num_rooms // 2 // 2 * (size - 1) + size // 2
    num_colors = (num_rooms + NUM_COLORS - 1) // NUM_COLORS * NUM_COLORS
    all_colors, doors = blank.space[:num_colors], blank.space[num_colors : num_colors + num_rooms]
    colors, rooms = all_colors[:num_rooms], blank.space[-NUM_COLORS:]
    for n in range(len(chosen)):
        if not chosen[n]:
            continue
        episode = worlds.episodes[n]
        start_blank(worlds, n, blank)
        gather_agents(worlds, n, middle_x, middle_y)
        for i in range(num_colors):
            all_colors[i] = i % NUM_COLORS
        shuffle(episode, all_colors)
        for i in range(num_rooms):
            doors[i] = colors[i]
        shuffle(episode, doors)
        _lock_rooms(worlds, n, size, doors, rooms)
        # The keys of each room, as far as there are any left, lie behind the door before them.
        placed = 0
        while placed < num_rooms:
            area, most = hallway, max_hallway_keys
            if placed > 0:
                room = rooms[colors[placed - 1]]
                area = Area(room % 2 * 2 * (size - 1), room // 2 * (size - 1), size, size)
                most = max_room_keys
            for _ in range(1 + below(episode, most)):
                if placed == num_rooms:
                    break
                index = FIRST + num_rooms + placed
                create(worlds, n, index, KEY, colors[placed], 0)
                if not place(worlds, n, index, area, False, MAX_PLACEMENT_TRIES):
                    return NO_ROOM
                placed += 1
        for a in range(worlds.agents.shape[1]):
            if not place_agent(worlds, n, a, hallway, MAX_PLACEMENT_TRIES):
                return NO_ROOM
    return DONE


@part
def _lock_rooms(worlds: Worlds, n: int, size: int, doors: np.ndarray, rooms: np.ndarray) -> None:
    """Locks the rooms on both sides of the hallway; writes the last room of each colour.

    Upstream keeps rooms by the colours of their doors, which repeat where there are more than six.
    """
    rooms[:] = NOTHING
    worlds.episodes[n].to_unlock = 0
    for room in range(len(doors)):
        x, y = (1 + room % 2) * (size - 1), room // 2 * (size - 1) + (size - 1) // 2
        create(worlds, n, FIRST + room, DOOR, doors[room], LOCKED)
        put(worlds, n, FIRST + room, x, y)
        worlds.episodes[n].to_unlock += rooms[doors[room]] == NOTHING
        rooms[doors[room]] = room
