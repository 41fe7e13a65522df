"""Pictures of MultiGrid in which every agent can be seen.

`multigrid` 0.1.0 draws one agent of those that share a cell. An agent that has finished is drawn or
not, depending on which tiles were drawn before. An agent of the goal's colour vanishes in the goal.
"""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from multigrid.core.agent import Agent
    from multigrid.core.grid import Grid
    from pettingzoo import ParallelEnv

# Triangles that point to the right, around the middle of a cell of size 1: upstream's, and one that
# uses more of the room where there is little.
_ALONE = np.array([(-0.38, -0.31), (0.37, 0.0), (-0.38, 0.31)])
_SHARING = 1.25 * _ALONE
_OUTLINE = (0, 0, 0)
# Agents are drawn in a larger picture, which is then shrunk, for smooth edges.
_OVERSAMPLING = 4


@contextlib.contextmanager
def all_agents_shown(env: ParallelEnv) -> Iterator[None]:
    """Makes MultiGrid draw every agent, beside each other where they share a cell.

    Only `Grid.render` is replaced, of the present grid and for as long as the context lasts.
    Other environments draw what they always draw.
    """
    from empo_rllib.envs.multigrid import MultiGridParallelEnv

    if not isinstance(env, MultiGridParallelEnv):
        yield
        return
    grid = env.env.unwrapped.grid
    grid.render = partial(_render, grid)
    try:
        yield
    finally:
        del grid.render


def _render(
    grid: Grid,
    tile_size: int,
    agents: Iterable[Agent] = (),
    highlight_mask: np.ndarray | None = None,
) -> np.ndarray:
    """Renders as `multigrid.core.grid.Grid.render` does, with all agents on top.

    Returns:
        uint8, shape (height, width, 3).
    """
    empty = type(grid).render(grid, tile_size, (), highlight_mask)
    picture = Image.fromarray(empty)
    for (column, row), sharing in _by_cell(agents).items():
        stamp = _draw_agents(sharing, tile_size)
        picture.paste(stamp, (column * tile_size, row * tile_size), stamp)
    return np.asarray(picture)


def _by_cell(agents: Iterable[Agent]) -> dict[tuple[int, int], list[Agent]]:
    cells = defaultdict(list)
    for agent in agents:
        column, row = agent.state.pos
        cells[int(column), int(row)].append(agent)
    return cells


def _draw_agents(agents: Sequence[Agent], size: int) -> Image.Image:
    """Returns the agents of one cell, in rows, on a transparent square of `size` pixels."""
    large = size * _OVERSAMPLING
    picture = Image.new("RGBA", (large, large))
    draw = ImageDraw.Draw(picture)
    in_row = math.ceil(math.sqrt(len(agents)))
    rows = [agents[start : start + in_row] for start in range(0, len(agents), in_row)]
    share = large / in_row
    triangle = share * (_ALONE if len(agents) == 1 else _SHARING)
    top = (large - len(rows) * share) / 2
    for row in rows:
        left = (large - len(row) * share) / 2
        for agent in row:
            middle = (left + share / 2, top + share / 2)
            corners = middle + triangle @ _turn(int(agent.state.dir))
            colour: Any = tuple(int(part) for part in agent.state.color.rgb())
            draw.polygon(
                [tuple(corner) for corner in corners], colour, _OUTLINE, width=_OVERSAMPLING
            )
            left += share
        top += share
    return picture.resize((size, size), Image.Resampling.BOX)


def _turn(direction: int) -> np.ndarray:
    """Returns what turns points [N, 2] from the right to `direction`, by `points @ turn`."""
    angle = direction * np.pi / 2
    return np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
