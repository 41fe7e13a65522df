"""Lines with the intervals of their means."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from empo_rllib.results.report.charts.svg import (
    HEIGHT,
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


def draw_lines(title: str, series: Sequence[Series], axis: str, x_label: str) -> View:
    """Draws curves and tells their numbers.

    Args:
        title: what lies on the y axis.
        series: at least one.
        axis: the choice that shows this picture.
        x_label: what lies on the x axis.
    """
    xs = series[0].xs
    x = x_scale(*_whole_range(xs))
    drawn = [[_thin(curve) for curve in s.curves] for s in series]
    ys = itertools.chain(
        *((s.low, s.high, *(c.ys for c in thin)) for s, thin in _pairs(series, drawn))
    )
    y = y_scale(*span(np.concatenate(list(ys)).tolist()))
    content = axes(x, y, x_label)
    for one, thin in _pairs(series, drawn):
        content += _draw_series(one, thin, x, y)
    names = ", ".join(one.label for one in series)
    description = f"{len(series)} lines against {x_label}: {names}. The table has the numbers."
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


def _whole_range(xs: np.ndarray) -> tuple[float, float]:
    low, high = float(xs[0]), float(xs[-1])
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
