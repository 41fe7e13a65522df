"""Parallel coordinates: a vertical axis for each setting, a line for each trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from empo_rllib.results.report.charts.heat import level_of
from empo_rllib.results.report.charts.points import shortened
from empo_rllib.results.report.charts.svg import Scale, element, path, picture, scale_of
from empo_rllib.results.report.numbers import short

_BETWEEN, _SIDE = 130.0, 75.0
_TOP, _BOTTOM, _HEIGHT = 22.0, 268.0, 290.0
# The text of a title, of a number beside an axis.
_ABOVE, _LEFT_OF = 12.0, 6.0


@dataclass(frozen=True)
class Axis:
    """A vertical axis, and where each line crosses it.

    Attributes:
        name: written above.
        values: numbers, or texts, which lie in the order in which they first appear.
    """

    name: str
    values: Sequence[float] | Sequence[str]


def draw_parallel(title: str, axes: Sequence[Axis], labels: Sequence[str]) -> Markup:
    """Draws a line for each trial through its values; the higher on the last axis, the stronger.

    Args:
        title: of the picture.
        axes: settings, and the score as the last; each with one value for each trial.
        labels: what to call the trials.
    """
    width = 2 * _SIDE + _BETWEEN * (len(axes) - 1)
    xs = [_SIDE + _BETWEEN * number for number in range(len(axes))]
    columns, drawn = [], []
    for x, axis in zip(xs, axes, strict=True):
        heights, marks = _heights(axis)
        columns.append(heights)
        drawn += _drawn(axis.name, x, marks)
    content = []
    best, worst = min(columns[-1]), max(columns[-1])
    trials = list(zip(labels, *columns, strict=True))
    for label, *heights in sorted(trials, key=lambda trial: -trial[-1]):
        level = level_of((worst - heights[-1]) / (worst - best)) if worst > best else 0
        text = element("title", label)
        line = path(zip(xs, heights, strict=True))
        content.append(element("path", text, d=line, class_=f"across h{level} s0"))
    description = (
        f"{len(labels)} trials across {', '.join(axis.name for axis in axes)}: the higher a trial "
        "ends, the stronger its line. The table has the numbers."
    )
    return picture(width, _HEIGHT, title, description, [*content, *drawn])


def _heights(axis: Axis) -> tuple[list[float], list[tuple[float, str]]]:
    """Returns where the trials cross an axis, and its marks."""
    texts = list(dict.fromkeys(value for value in axis.values if isinstance(value, str)))
    if texts:
        by_text = Scale(-0.5, len(texts) - 0.5, _BOTTOM, _TOP)
        places = {text: by_text(float(number)) for number, text in enumerate(texts)}
        marks = [(place, shortened(text)) for text, place in places.items()]
        return [places[str(value)] for value in axis.values], marks
    values = [float(value) for value in axis.values]
    scale = scale_of(values, _BOTTOM, _TOP)
    return [scale(value) for value in values], [(scale(t), short(t)) for t in scale.ticks()]


def _drawn(name: str, x: float, marks: Sequence[tuple[float, str]]) -> list[Markup]:
    title = element("text", name, class_="label", x=x, y=_ABOVE, text_anchor="middle")
    line = element("line", class_="axis", x1=x, x2=x, y1=_TOP, y2=_BOTTOM)
    texts = [
        element("text", text, class_="of-reference", x=x - _LEFT_OF, y=place + 4, text_anchor="end")
        for place, text in marks
    ]
    return [title, line, *texts]
