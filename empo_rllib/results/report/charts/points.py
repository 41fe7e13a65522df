"""Single values against a number or against categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from empo_rllib.results.report.charts.svg import (
    HEIGHT,
    LEFT,
    RIGHT,
    WIDTH,
    axes,
    element,
    picture,
    scale_of,
    series_class,
    span,
    x_scale,
    y_scale,
)

_MAX_NAME = 14


@dataclass(frozen=True)
class Point:
    """A value, where it lies and what it is of."""

    x: float | str
    y: float
    label: str
    number: int = 0


def draw_points(title: str, points: Sequence[Point], x_label: str) -> Markup:
    """Draws points; texts on the x axis lie in the order in which they first appear."""
    names = list(dict.fromkeys(point.x for point in points if isinstance(point.x, str)))
    if names:
        places = {name: float(index) for index, name in enumerate(names)}
        x = x_scale(-0.5, len(names) - 0.5)
    else:
        places = {}
        x = scale_of([float(point.x) for point in points], LEFT, WIDTH - RIGHT)
    y = y_scale(*span(point.y for point in points))
    content = axes(x, y, x_label, [shortened(name) for name in names])
    for point in points:
        place = places[point.x] if isinstance(point.x, str) else point.x
        content.append(
            element(
                "circle",
                element("title", f"{point.label}: {point.y:.4g} at {point.x}"),
                cx=x(place),
                cy=y(point.y),
                r=5,
                class_=f"point {series_class(point.number)}",
            )
        )
    description = f"{len(points)} points against {x_label}. The table has the numbers."
    return picture(WIDTH, HEIGHT, title, description, content)


def shortened(name: str) -> str:
    """Returns a name that has room below an axis."""
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"
