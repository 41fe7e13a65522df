"""Lines with the intervals of their means."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from empo_rllib.results.report.charts.svg import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Scale,
    axes,
    element,
    path,
    picture,
    series_class,
    span,
    x_scale,
    y_scale,
)
from empo_rllib.results.report.curves import Curve, Series
from empo_rllib.results.report.numbers import NOTHING, fixed, short
from empo_rllib.results.report.parts import Cell, Table, View

# A long curve is drawn with so many points, each the mean of its neighbours.
_MAX_DRAWN_POINTS = 120
# Between the dots of different series, whose intervals would hide each other.
_DODGE = 5.0


@dataclass(frozen=True)
class Dot:
    """A value with its 95 % interval, if there is one, beside the lines."""

    x: float
    y: float
    ends: tuple[float, float] | None
    label: str
    number: int


@dataclass(frozen=True)
class Reference:
    """A value to compare lines with."""

    label: str
    y: float


def draw_lines(
    title: str,
    series: Sequence[Series],
    axis: str,
    x_label: str,
    dots: Sequence[Dot] = (),
    references: Sequence[Reference] = (),
) -> View:
    """Draws curves and tells their numbers.

    Args:
        title: what lies on the y axis.
        series: at least one.
        axis: the choice that shows this picture.
        x_label: what lies on the x axis.
        dots: drawn over the lines, those of different series a little apart.
        references: drawn as lines across.
    """
    xs = series[0].xs
    x = x_scale(*_whole_range(xs[0], max([xs[-1], *(dot.x for dot in dots)])))
    drawn = [[_thin(curve) for curve in s.curves] for s in series]
    ys = itertools.chain(
        *((s.mean, s.low, s.high, *(c.ys for c in thin)) for s, thin in _pairs(series, drawn)),
        ((dot.y, *(dot.ends or ())) for dot in dots),
        ([reference.y] for reference in references),
    )
    y = y_scale(*span(np.concatenate(list(ys)).tolist()))
    content = axes(x, y, x_label) + [_reference_line(y(one.y)) for one in references]
    for one, thin in _pairs(series, drawn):
        content += _draw_series(one, thin, x, y)
    numbers = sorted({dot.number for dot in dots})
    for dot in dots:
        shift = _DODGE * (numbers.index(dot.number) - (len(numbers) - 1) / 2)
        content.append(_dot(dot, x(dot.x) + shift, y))
    content += [_reference_label(one, y(one.y)) for one in references]
    names = ", ".join(one.label for one in series)
    description = f"{len(series)} lines against {x_label}: {names}. The table has the numbers."
    description += "".join(f" {one.label}: {one.y:,.3f}." for one in references)
    svg = picture(WIDTH, HEIGHT, title, description, content)
    table = _table(f"{title} against {x_label}", series, x_label)
    return View(svg, table, axis, [x(place) for place in xs.tolist()])


def _pairs(
    series: Sequence[Series], drawn: Sequence[Sequence[Curve]]
) -> list[tuple[Series, Sequence[Curve]]]:
    return list(zip(series, drawn, strict=True))


def _draw_series(one: Series, curves: Sequence[Curve], x: Scale, y: Scale) -> list[Markup]:
    classes = series_class(one.number)
    if len(curves) == 1:
        return [_line(curves[0].xs, curves[0].ys, x, y, f"line {classes}")]
    known = np.isfinite(one.low)
    upper = list(zip(one.xs[known], one.high[known], strict=True))
    lower = list(zip(one.xs[known], one.low[known], strict=True))
    band = path((x(a), y(b)) for a, b in upper + lower[::-1])
    return [
        element("path", d=band, class_=f"band {classes}"),
        *(_line(curve.xs, curve.ys, x, y, f"member {classes}") for curve in curves),
        _line(one.xs, one.mean, x, y, f"line {classes}"),
    ]


def _dot(dot: Dot, at: float, y: Scale) -> Markup:
    text = f"{dot.label}: {dot.y:,.3f}"
    parts = []
    if dot.ends is not None:
        low, high = dot.ends
        text += f" ({low:,.3f} to {high:,.3f})"
        parts.append(element("line", x1=at, x2=at, y1=y(low), y2=y(high), class_="whisker"))
    parts.append(element("circle", cx=at, cy=y(dot.y), r=4, class_="point"))
    return element("g", element("title", text), *parts, class_=series_class(dot.number))


def _reference_line(y: float) -> Markup:
    return element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="reference")


def _reference_label(reference: Reference, y: float) -> Markup:
    """Returns the name on the side where rising curves leave room, above the line if that fits."""
    is_high = y < (TOP + HEIGHT - BOTTOM) / 2
    at = {"x": LEFT + 4, "text_anchor": "start"}
    if not is_high:
        at = {"x": WIDTH - RIGHT - 4, "text_anchor": "end"}
    text = f"{reference.label} {reference.y:,.3g}"
    place = y - 4 if y > TOP + 14 else y + 13
    return element("text", text, y=place, class_="label of-reference", **at)


def _line(xs: np.ndarray, ys: np.ndarray, x: Scale, y: Scale, classes: str) -> Markup:
    if len(xs) == 1:
        return element("circle", cx=x(float(xs[0])), cy=y(float(ys[0])), r=3, class_=classes)
    points = ((x(a), y(b)) for a, b in zip(xs.tolist(), ys.tolist(), strict=True))
    return element("path", d=path(points), class_=classes)


def _thin(curve: Curve) -> Curve:
    if len(curve.xs) <= _MAX_DRAWN_POINTS:
        return curve
    parts = np.array_split(np.arange(len(curve.xs)), _MAX_DRAWN_POINTS)
    return Curve(
        np.array([curve.xs[part].mean() for part in parts]),
        np.array([curve.ys[part].mean() for part in parts]),
    )


def _whole_range(low: float, high: float) -> tuple[float, float]:
    start = 0.0 if 0 <= low < 0.5 * high else low
    return span([start, high], margin=0.0)


def _table(caption: str, series: Sequence[Series], x_label: str) -> Table:
    columns = [
        x_label,
        *(f"{s.label} ({len(s.curves)} seeds)" if len(s.curves) > 1 else s.label for s in series),
    ]
    rows = [
        [Cell(short(place), place), *(_cell(one, index) for one in series)]
        for index, place in enumerate(series[0].xs.tolist())
    ]
    return Table(caption, columns, rows, sortable=False)


def _cell(one: Series, index: int) -> Cell:
    mean, low, high = (float(values[index]) for values in (one.mean, one.low, one.high))
    cell = fixed(mean)
    if not np.isfinite(low) or cell.text == NOTHING:
        return cell
    return Cell(f"{cell.text} ({low:,.3f} to {high:,.3f})", mean)
