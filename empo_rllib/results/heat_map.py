"""Cross-play as a heat map: a PNG drawn with Pillow, or the same shapes as an SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape

from empo_rllib.results.crossplay import CrossplayResult
from empo_rllib.results.crossplay_table import describe_play, describe_sides

Colour = tuple[int, int, int]

# viridis (van der Walt and Smith 2015): even steps look even, also in grey and to the colour-blind.
_SCALE: Sequence[Colour] = (
    (68, 1, 84),
    (59, 82, 139),
    (33, 145, 140),
    (94, 201, 98),
    (253, 231, 37),
)
_INK, _LIGHT = (40, 40, 40), (255, 255, 255)
_CELL, _MARGIN, _GAP = 64, 24, 10
_TITLE, _SMALL = 15, 13
_BAR, _BAR_STEPS = 16, 64
_MIN_WIDTH = 460
_LONGEST_NAME = 24
_OVERSAMPLING = 2


@dataclass(frozen=True)
class Rectangle:
    """A filled rectangle."""

    x: float
    y: float
    width: float
    height: float
    colour: Colour


@dataclass(frozen=True)
class Label:
    """A text; `x` is its left end, middle or right end, `y` its middle."""

    x: float
    y: float
    text: str
    size: int = _SMALL
    colour: Colour = _INK
    align: Literal["left", "middle", "right"] = "left"


@dataclass(frozen=True)
class Drawing:
    """Shapes on white, in the order in which they are drawn."""

    width: int
    height: int
    boxes: list[Rectangle]
    labels: list[Label]


def draw_crossplay(result: CrossplayResult, suffix: str) -> bytes:
    """Returns a picture of the returns of all pairs, random partners included.

    Args:
        result: what was played.
        suffix: `.png` or `.svg`.
    """
    drawing = _lay_out(result)
    return _render_png(drawing) if suffix == ".png" else _render_svg(drawing).encode()


def colour_of(value: float, low: float, high: float) -> Colour:
    """Returns the colour of a value on the scale from `low` to `high`."""
    place = (value - low) / (high - low) if high > low else 1.0
    place = min(max(place, 0.0), 1.0) * (len(_SCALE) - 1)
    below = min(int(place), len(_SCALE) - 2)
    share = place - below
    red, green, blue = (
        round(a + share * (b - a)) for a, b in zip(_SCALE[below], _SCALE[below + 1], strict=True)
    )
    return red, green, blue


def _lay_out(result: CrossplayResult) -> Drawing:
    names = [_shortened(player.name) for player in result.players]
    values = _cells(result)
    found = [value for row in values for value in row if value is not None]
    # With zero on the scale small differences look small.
    low, high = min(0.0, *found), max(0.0, *found)
    left = _MARGIN + 8 * max(map(len, [*names, "random"])) + 30
    top, size = _MARGIN + 84, len(values)
    drawing = Drawing(
        width=max(_MIN_WIDTH, left + size * _CELL + 3 * _GAP + _BAR + 60 + _MARGIN),
        height=top + size * _CELL + _MARGIN,
        boxes=[],
        labels=[
            Label(_MARGIN, _MARGIN + 4, result.env["id"], _TITLE),
            Label(_MARGIN, _MARGIN + 26, describe_play(result).partition(": ")[2]),
            Label(_MARGIN, _MARGIN + 46, describe_sides(result)),
        ],
    )
    for number, name in enumerate([*names, "random"]):
        title = str(number + 1) if number < len(names) else name
        middle = number * _CELL + _CELL / 2
        drawing.labels.append(Label(left + middle, top - _GAP, title, align="middle"))
        row = f"{number + 1}  {name}" if number < len(names) else name
        drawing.labels.append(Label(left - _GAP, top + middle, row, align="right"))
    for i, cells in enumerate(values):
        for j, value in enumerate(cells):
            if value is not None:
                _add_cell(drawing, left + j * _CELL, top + i * _CELL, value, (low, high))
    _add_scale(drawing, left + size * _CELL + 3 * _GAP, top, size * _CELL, (low, high))
    return drawing


def _cells(result: CrossplayResult) -> list[list[float | None]]:
    """Returns the matrix with a row and a column of random partners."""
    pairs = zip(result.means, result.random_second, strict=True)
    rows: list[list[float | None]] = [[*row, chance.mean] for row, chance in pairs]
    return [*rows, [*(chance.mean for chance in result.random_first), None]]


def _add_cell(
    drawing: Drawing, x: float, y: float, value: float, ends: tuple[float, float]
) -> None:
    colour = colour_of(value, *ends)
    drawing.boxes.append(Rectangle(x + 1, y + 1, _CELL - 2, _CELL - 2, colour))
    red, green, blue = colour
    ink = _INK if 0.3 * red + 0.6 * green + 0.1 * blue > 140 else _LIGHT
    middle = x + _CELL / 2, y + _CELL / 2
    drawing.labels.append(Label(*middle, _number(value), _SMALL, ink, "middle"))


def _add_scale(
    drawing: Drawing, x: float, top: float, height: float, ends: tuple[float, float]
) -> None:
    step = height / _BAR_STEPS
    for number in range(_BAR_STEPS):
        colour = colour_of(1 - (number + 0.5) / _BAR_STEPS, 0, 1)
        # A little higher than a step: no seams.
        drawing.boxes.append(Rectangle(x, top + number * step, _BAR, step + 0.5, colour))
    for y, value in ((top + 6, ends[1]), (top + height - 6, ends[0])):
        drawing.labels.append(Label(x + _BAR + _GAP / 2, y, _number(value)))


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 2]}.."


def _render_png(drawing: Drawing) -> bytes:
    from PIL import Image, ImageDraw, ImageFont

    scale = _OVERSAMPLING
    image = Image.new("RGB", (drawing.width * scale, drawing.height * scale), "white")
    pen = ImageDraw.Draw(image)
    for box in drawing.boxes:
        corners = (box.x, box.y, box.x + box.width, box.y + box.height)
        pen.rectangle([scale * corner for corner in corners], fill=box.colour)
    anchors = {"left": "lm", "middle": "mm", "right": "rm"}
    for label in drawing.labels:
        at = (scale * label.x, scale * label.y)
        font = ImageFont.load_default(scale * label.size)
        pen.text(at, label.text, fill=label.colour, font=font, anchor=anchors[label.align])
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _render_svg(drawing: Drawing) -> str:
    size = f'width="{drawing.width}" height="{drawing.height}"'
    anchors = {"left": "start", "middle": "middle", "right": "end"}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    lines += [
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" '
        f'fill="rgb{box.colour}"/>'
        for box in drawing.boxes
    ]
    lines += [
        f'<text x="{label.x:g}" y="{label.y:g}" font-size="{label.size}" fill="rgb{label.colour}" '
        f'text-anchor="{anchors[label.align]}" dominant-baseline="central">'
        f"{escape(label.text)}</text>"
        for label in drawing.labels
    ]
    return "\n".join([*lines, "</svg>", ""])
