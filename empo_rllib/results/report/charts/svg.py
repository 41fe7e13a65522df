"""SVG elements, scales and axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from empo_rllib.results.report.numbers import short

WIDTH, HEIGHT = 440.0, 270.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 18.0, 12.0, 44.0
NUM_COLOURS = 7
# From this ratio of the largest to the smallest on, equal ratios get equal distances.
_LOG_FROM = 20.0


def element(name: str, *content: Markup | str, **attributes: object) -> Markup:
    """Returns an element; text and attributes are escaped, `class_` is `class`, `_` is `-`."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{pairs}>{Markup().join(content)}</{name}>")


def picture(
    width: float, height: float, title: str, description: str, content: Iterable[Markup]
) -> Markup:
    """Returns a whole picture, with what a screen reader tells of it."""
    return element(
        "svg",
        element("title", title),
        element("desc", description),
        *content,
        viewBox=f"0 0 {_text(width)} {_text(height)}",
        role="img",
        aria_label=f"{title}. {description}",
    )


def series_class(number: int) -> str:
    """Returns the classes that give a series its colour and dash."""
    return f"s{number % NUM_COLOURS} d{number // NUM_COLOURS}"


@dataclass(frozen=True)
class Scale:
    """From numbers to places in a picture.

    Attributes:
        low, high: the numbers at the ends, not equal.
        start, end: their places.
        log: whether equal ratios get equal distances.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (
            (math.log(x) for x in (self.low, self.high, value))
            if self.log
            else (self.low, self.high, value)
        )
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Returns some four round numbers in the range."""
        if not self.log:
            return linear_ticks(self.low, self.high)
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        steps = (1,) if len(powers) > 3 else (1, 3)
        values = [step * 10.0**power for power in powers for step in steps]
        inside = [value for value in values if self.low <= value <= self.high]
        return inside[:: max(1, len(inside) // 5)] or [self.low, self.high]


def linear_ticks(low: float, high: float) -> list[float]:
    """Returns the multiples of 1, 2 or 5 times a power of ten in a range, at most seven."""
    rough = (high - low) / 5.5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def span(values: Iterable[float], margin: float = 0.05) -> tuple[float, float]:
    """Returns the range of finite values with a margin, never empty."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    if high - low <= 1e-9 * max(1.0, abs(high)):
        half = max(0.5 * abs(high), 0.5)
        return low - half, high + half
    return low - margin * (high - low), high + margin * (high - low)


def scale_of(values: Sequence[float], start: float, end: float) -> Scale:
    """Returns a scale for values with some room around; those of large ratios get a log scale."""
    if min(values) > 0 and max(values) / min(values) >= _LOG_FROM:
        return Scale(min(values) / 1.3, max(values) * 1.3, start, end, log=True)
    return Scale(*span(values), start, end)


def x_scale(low: float, high: float, log: bool = False) -> Scale:
    """Returns the horizontal scale of a chart of the usual size."""
    return Scale(low, high, LEFT, WIDTH - RIGHT, log)


def y_scale(low: float, high: float) -> Scale:
    """Returns the vertical scale of a chart of the usual size."""
    return Scale(low, high, HEIGHT - BOTTOM, TOP)


def axes(x: Scale, y: Scale, x_label: str, names: Sequence[str] = ()) -> list[Markup]:
    """Returns grid lines, numbers and the label of the x axis; `names` replace its numbers."""
    parts = []
    for value in y.ticks():
        place = y(value)
        line = {"x1": LEFT, "x2": WIDTH - RIGHT, "y1": place, "y2": place}
        parts.append(element("line", class_="rule", **line))
        at = {"x": LEFT - 6, "y": place + 4, "text_anchor": "end"}
        parts.append(element("text", short(value), **at))
    places = [(float(i), name) for i, name in enumerate(names)]
    for value, text in places or [(value, short(value)) for value in x.ticks()]:
        at = {"x": x(value), "y": HEIGHT - BOTTOM + 17, "text_anchor": "middle"}
        parts.append(element("text", text, **at))
    base = {"x1": LEFT, "x2": WIDTH - RIGHT, "y1": HEIGHT - BOTTOM, "y2": HEIGHT - BOTTOM}
    parts.append(element("line", class_="axis", **base))
    middle = {"x": (LEFT + WIDTH - RIGHT) / 2, "y": HEIGHT - 7, "text_anchor": "middle"}
    parts.append(element("text", x_label, class_="label", **middle))
    return parts


def path(points: Iterable[tuple[float, float]]) -> str:
    """Returns the `d` of a line through points, broken where one is not finite."""
    commands, pen = [], "M"
    for x, y in points:
        if math.isfinite(x) and math.isfinite(y):
            commands.append(f"{pen}{_text(x)} {_text(y)}")
            pen = "L"
        else:
            pen = "M"
    return "".join(commands)


def _text(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
