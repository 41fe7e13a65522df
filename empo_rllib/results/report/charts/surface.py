"""A score over two settings, estimated between the trials."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from empo_rllib.results.report.charts.heat import level_of
from empo_rllib.results.report.charts.svg import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    axes,
    element,
    picture,
    scale_of,
)

_CELLS = 16


def draw_surface(
    title: str,
    xs: Sequence[float],
    ys: Sequence[float],
    scores: Sequence[float],
    labels: Sequence[str],
    names: tuple[str, str],
) -> Markup:
    """Draws trials as points over a linear interpolation of their scores.

    What lies outside of all triangles between trials stays empty. Settings whose values are of
    large ratios are interpolated by their logarithms.

    Args:
        title: of the picture.
        xs: the first setting of each trial.
        ys: the second.
        scores: of each trial.
        labels: what to call them.
        names: of the settings.
    """
    x, y = scale_of(xs, LEFT, WIDTH - RIGHT), scale_of(ys, HEIGHT - BOTTOM, TOP)
    places = np.array([(x(a), y(b)) for a, b in zip(xs, ys, strict=True)])
    content = [*_cells(places, np.asarray(scores, float)), *axes(x, y, names[0])]
    upright = {"text_anchor": "middle", "transform": f"rotate(-90 12 {HEIGHT / 2})"}
    content.append(element("text", names[1], class_="label", x=12, y=HEIGHT / 2, **upright))
    for (across, down), score, label in zip(places.tolist(), scores, labels, strict=True):
        text = element("title", f"{label}: {score:.4g}")
        content.append(element("circle", text, cx=across, cy=down, r=3.5, class_="trial"))
    description = (
        f"{len(labels)} trials by {names[0]} and {names[1]}: the stronger the colour, the higher "
        f"the score, from {min(scores):.4g} to {max(scores):.4g}. The table has the numbers."
    )
    return picture(WIDTH, HEIGHT, title, description, content)


def _cells(places: np.ndarray, scores: np.ndarray) -> list[Markup]:
    """Returns the shaded cells, [P, 2] places in the picture and [P] scores of trials given."""
    from scipy.interpolate import LinearNDInterpolator
    from scipy.spatial import QhullError

    try:
        estimate = LinearNDInterpolator(places, scores, rescale=True)
    except QhullError:  # all trials on a line
        return []
    width, height = (WIDTH - LEFT - RIGHT) / _CELLS, (HEIGHT - TOP - BOTTOM) / _CELLS
    low, range_ = scores.min(), np.ptp(scores)
    cells = []
    for i, j in np.ndindex(_CELLS, _CELLS):
        left, top = LEFT + i * width, TOP + j * height
        score = float(estimate(left + width / 2, top + height / 2))
        if np.isfinite(score):
            level = level_of((score - low) / range_) if range_ else 0
            box = {"x": left, "y": top, "width": width, "height": height}
            text = element("title", f"about {score:.4g}")
            cells.append(element("rect", text, class_=f"heat h{level} s0", **box))
    return cells
