"""Members of a population as lines side by side, which cross over where one copies another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from empo_rllib.results.report.charts.svg import (
    BOTTOM,
    HEIGHT,
    WIDTH,
    Scale,
    element,
    path,
    picture,
    series_class,
)
from empo_rllib.results.report.numbers import short

_LEFT, _TOP, _END = 86.0, 24.0, 18.0
# How far the line of a copy lies before the copy.
_SLANT = 8.0


@dataclass(frozen=True)
class Branch:
    """One member's weights from one change to the next.

    Attributes:
        member: its place among the members.
        origin: that of the member whose weights it continues with.
        start, end: env steps.
    """

    member: int
    origin: int
    start: float
    end: float


def draw_lineage(
    title: str, names: Sequence[str], branches: Sequence[Branch], ancestors: Sequence[Branch]
) -> Markup:
    """Draws members against env steps.

    Args:
        title: what it shows.
        names: of the members, at least one.
        branches: all, at least one.
        ancestors: what led to the best policy; drawn thick.
    """
    x = Scale(0.0, max(1.0, *(branch.end for branch in branches)), _LEFT, WIDTH - _END)
    y = Scale(0.0, max(1.0, len(names) - 1.0), _TOP, HEIGHT - BOTTOM - _TOP)
    parts = [*_axis(x), *(_name(name, y(float(row))) for row, name in enumerate(names))]
    for kind, group in (("member", branches), ("line", ancestors)):
        classes = f"{kind} {series_class(0)}"
        parts += [element("path", d=_line(one, x, y), class_=classes) for one in group]
    copies = sum(branch.origin != branch.member for branch in branches)
    description = f"{len(names)} members, {copies} copies. What led to the best policy is thick."
    return picture(WIDTH, HEIGHT, title, description, parts)


def _line(branch: Branch, x: Scale, y: Scale) -> str:
    places = [(x(at), y(float(branch.member))) for at in (branch.start, branch.end)]
    if branch.origin != branch.member:
        places.insert(0, (places[0][0] - _SLANT, y(float(branch.origin))))
    return path(places)


def _axis(x: Scale) -> list[Markup]:
    base = HEIGHT - BOTTOM
    parts = [element("line", x1=_LEFT, x2=WIDTH - _END, y1=base, y2=base, class_="axis")]
    for value in x.ticks():
        parts.append(element("text", short(value), x=x(value), y=base + 17, text_anchor="middle"))
    middle = {"x": (_LEFT + WIDTH - _END) / 2, "y": HEIGHT - 7, "text_anchor": "middle"}
    return [*parts, element("text", "env steps", class_="label", **middle)]


def _name(name: str, y: float) -> Markup:
    return element("text", name, x=_LEFT - 8, y=y + 4, text_anchor="end")
