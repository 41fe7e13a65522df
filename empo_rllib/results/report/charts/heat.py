"""Heat maps of grids."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from empo_rllib.results.report.charts.svg import NUM_COLOURS, element, picture

_SIDE = 300.0
LEVELS = 10


def level_of(share: float) -> int:
    """Returns the shade, 0 to 9, of a share of the largest value."""
    return min(LEVELS - 1, int(share * LEVELS))


def visit_level(share: float, most: float) -> int:
    """Returns the shade of a cell; small shares keep apart, since shades go with the square root.

    Args:
        share: of all visits.
        most: the largest share of all cells.
    """
    return level_of((share / most) ** 0.5) if most > 0 else 0


def draw_grid(
    title: str, shares: np.ndarray, walls: np.ndarray, goals: np.ndarray, number: int
) -> Markup:
    """Draws how often each cell was visited.

    Args:
        title: whose visits.
        shares: shape (width, height), of all visits.
        walls: bool, same shape: cells that are a wall in every episode.
        goals: bool, same shape: cells that are a goal in every episode.
        number: the colour.
    """
    width, height = shares.shape
    size = _SIDE / max(width, height)
    most = float(shares.max())
    whole = {"width": width * size, "height": height * size}
    content = [element("rect", class_="floor", **whole)]
    for i, j in np.argwhere((shares > 0) | walls).tolist():
        share = float(shares[i, j])
        kind = f"heat h{visit_level(share, most)}" if share else "wall"
        box = {"x": i * size + 0.5, "y": j * size + 0.5, "width": size - 1, "height": size - 1}
        text = element("title", f"column {i}, row {j}: {share:.1%}")
        content.append(element("rect", text, class_=f"{kind} s{number % NUM_COLOURS}", **box))
    for i, j in np.argwhere(goals).tolist():
        centre = {"cx": (i + 0.5) * size, "cy": (j + 0.5) * size, "r": size * 0.3}
        content.append(element("circle", class_="goal", **centre))
    description = (
        f"A grid of {width} by {height} cells: the stronger the colour, the more often; at most "
        f"{most:.0%} of its steps in one cell. A ring is a goal. The table has the numbers."
    )
    return picture(width * size, height * size, title, description, content)
