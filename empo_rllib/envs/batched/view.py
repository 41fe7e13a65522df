"""What agents see: `multigrid.utils.obs.gen_obs_grid_encoding`, one copy at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from empo_rllib.envs.batched.kernel import kernel, part
from empo_rllib.envs.batched.state import (
    AGENT,
    DOOR,
    EMPTY,
    NOTHING,
    OPEN,
    OUTSIDE_COLOR,
    WALL,
    Worlds,
)

#: A row of cells that are in sight is kept as the bits of one number.
MAX_VIEW_SIZE = 63

_ONE = np.uint64(1)


@part
def observe(
    worlds: Worlds, n: int, looking: np.ndarray, images: np.ndarray, directions: np.ndarray
) -> None:
    """Writes what the agents `looking` (bool [A]) in copy `n` see now.

    Args:
        worlds: The state.
        n: Which copy.
        looking: Who sees; the rows of the others stay as they are.
        images: uint8 [A, V, V, 3], upstream's orientation.
        directions: [A].
    """
    agents = worlds.agents[n]
    _draw_agents(worlds.cells[n], agents, worlds.covered)
    for a in range(len(agents)):
        if looking[a]:
            directions[a] = agents[a].direction
            _look(worlds, n, agents[a], images[a])
    _erase_agents(worlds.cells[n], agents, worlds.covered)


@kernel
def observe_chosen(
    worlds: Worlds,
    chosen: np.ndarray,
    looking: np.ndarray,
    images: np.ndarray,
    directions: np.ndarray,
) -> None:
    """Calls `observe` for each copy in `chosen` (bool [N]); the arrays begin with [N, A]."""
    for n in range(len(chosen)):
        if chosen[n]:
            observe(worlds, n, looking[n], images[n], directions[n])


@part
def front_of(worlds: Worlds, agent: Any) -> tuple[int, int]:
    """Returns x and y of the cell before `agent`."""
    ahead_x, ahead_y = worlds.headings[agent.direction, 0], worlds.headings[agent.direction, 1]
    return agent.x + ahead_x, agent.y + ahead_y


@part
def _draw_agents(cells: np.ndarray, agents: np.ndarray, covered: np.ndarray) -> None:
    for a in range(len(agents)):
        if not agents[a].terminated:
            cell = cells[agents[a].x, agents[a].y]
            covered[a, 0], covered[a, 1], covered[a, 2] = cell[0], cell[1], cell[2]
            cell[0], cell[1], cell[2] = AGENT, agents[a].color, agents[a].direction


@part
def _erase_agents(cells: np.ndarray, agents: np.ndarray, covered: np.ndarray) -> None:
    for a in range(len(agents) - 1, -1, -1):  # backwards: agents may stand on one another
        if not agents[a].terminated:
            cell = cells[agents[a].x, agents[a].y]
            cell[0], cell[1], cell[2] = covered[a, 0], covered[a, 1], covered[a, 2]


@part
def _look(worlds: Worlds, n: int, agent: Any, image: np.ndarray) -> None:
    """Writes the view of one agent into `image` [V, V, 3]: [to its right, towards it]."""
    cells = worlds.cells[n]
    width, height = cells.shape[0], cells.shape[1]
    size = image.shape[0]
    ahead_x, ahead_y = worlds.headings[agent.direction, 0], worlds.headings[agent.direction, 1]
    own_x, own_y = agent.x, agent.y  # loaded once; writing the image might change a record
    for i in range(size):
        aside = i - size // 2
        for j in range(size):
            ahead = size - 1 - j
            x = own_x + ahead * ahead_x - aside * ahead_y
            y = own_y + ahead * ahead_y + aside * ahead_x
            if 0 <= x < width and 0 <= y < height:
                image[i, j, 0] = cells[x, y, 0]
                image[i, j, 1] = cells[x, y, 1]
                image[i, j, 2] = cells[x, y, 2]
            else:
                image[i, j, 0] = WALL
                image[i, j, 1] = OUTSIDE_COLOR
                image[i, j, 2] = 0
    _show_carried(worlds.things[n], agent.carried, image[size // 2, size - 1])
    if not worlds.episodes[n].see_through:
        _hide_unseen(image, worlds.sight)


@part
def _show_carried(things: np.ndarray, carried: int, cell: np.ndarray) -> None:
    """Shows an agent, in its own place, what it carries."""
    if carried == NOTHING:
        cell[0] = EMPTY
        cell[1] = cell[2] = 0
    else:
        cell[0] = things[carried].kind
        cell[1] = things[carried].color
        cell[2] = things[carried].state


@part
def _hide_unseen(image: np.ndarray, sight: np.ndarray) -> None:
    """Blanks the cells behind walls and closed doors; `get_vis_mask` of upstream, row by row."""
    size = image.shape[0]
    sight[:] = 0
    sight[size - 1] = _ONE << np.uint64(size // 2)
    for j in range(size - 1, -1, -1):
        seen = sight[j]
        further = np.uint64(0)
        if seen != 0:
            for i in range(size - 1):
                if (seen >> np.uint64(i)) & _ONE and _is_clear(image[i, j]):
                    seen |= _ONE << np.uint64(i + 1)
                    further |= np.uint64(3) << np.uint64(i)
            for i in range(size - 1, 0, -1):
                if (seen >> np.uint64(i)) & _ONE and _is_clear(image[i, j]):
                    seen |= _ONE << np.uint64(i - 1)
                    further |= np.uint64(3) << np.uint64(i - 1)
        if j > 0:
            sight[j - 1] = further
        for i in range(size):
            if not (seen >> np.uint64(i)) & _ONE:
                image[i, j] = 0  # `Type.unseen`


@part
def _is_clear(cell: np.ndarray) -> bool:
    return cell[0] != WALL and (cell[0] != DOOR or cell[2] == OPEN)
