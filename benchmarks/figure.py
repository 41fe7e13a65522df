"""Learning curves as a PNG, drawn with Pillow: means as lines, 95 % intervals as bands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.curves import Interval

COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115))  # Okabe and Ito: told apart by everybody
_INK, _GRID = (40, 40, 40), (225, 225, 225)
_PANEL, _HEIGHT, _MARGIN = 620, 400, (70, 20, 45, 50)  # margins: left, right, top, bottom
_OVERSAMPLING = 3


@dataclass(frozen=True)
class Panel:
    """One plot: by the name of the line its mean and interval at `x`."""

    title: str
    x: np.ndarray
    lines: Mapping[str, Interval]


def draw_curves(panels: Sequence[Panel], path: Path) -> None:
    """Writes the panels side by side."""
    scale = _OVERSAMPLING
    image = Image.new("RGB", (_PANEL * len(panels) * scale, _HEIGHT * scale), "white")
    for number, panel in enumerate(panels):
        _Axes(image, panel, number * _PANEL * scale, scale).draw()
    size = (_PANEL * len(panels), _HEIGHT)
    image = image.resize(size, Image.Resampling.LANCZOS).quantize(128)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=True)


def ticks(low: float, high: float, number: int = 5) -> list[float]:
    """Returns round values within [low, high], about so many."""
    rough = (high - low) / number
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


class _Axes:
    """One panel on the image."""

    def __init__(self, image: Image.Image, panel: Panel, offset: int, scale: int) -> None:
        left, right, top, bottom = (margin * scale for margin in _MARGIN)
        self.image, self.panel, self.scale = image, panel, scale
        self.left, self.right = offset + left, offset + _PANEL * scale - right
        self.top, self.bottom = top, _HEIGHT * scale - bottom
        ends = [end for line in panel.lines.values() for end in (line.low, line.high)]
        low, high = min(np.min(e) for e in ends), max(np.max(e) for e in ends)
        room = 0.05 * (high - low or 1)
        self.y_range = (low - room, high + room)
        self.x_range = (0.0, float(panel.x[-1]))
        self.font = ImageFont.load_default(13 * scale)
        self.pen = ImageDraw.Draw(image)

    def draw(self) -> None:
        self._draw_frame()
        for colour, line in zip(COLOURS, self.panel.lines.values(), strict=False):
            self._draw_band(line, colour)
        for colour, line in zip(COLOURS, self.panel.lines.values(), strict=False):
            self.pen.line(self._points(line.mean), fill=colour, width=2 * self.scale)
        self._draw_legend()

    def _points(self, y: np.ndarray) -> list[tuple[float, float]]:
        return [(self._x(a), self._y(b)) for a, b in zip(self.panel.x, y, strict=True)]

    def _x(self, value: float) -> float:
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def _y(self, value: float) -> float:
        low, high = self.y_range
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)

    def _draw_frame(self) -> None:
        gap = 8 * self.scale
        for tick in ticks(*self.y_range):
            y = self._y(tick)
            self.pen.line([(self.left, y), (self.right, y)], fill=_GRID, width=self.scale)
            self._write((self.left - gap, y), f"{tick:g}", "rm")
        for tick in ticks(*self.x_range):
            at = (self._x(tick), self.bottom + gap)
            self._write(at, f"{tick / 1000:g}k" if tick else "0", "mt")
        self.pen.rectangle(
            (self.left, self.top, self.right, self.bottom), outline=_INK, width=self.scale
        )
        middle = (self.left + self.right) / 2
        self._write((middle, self.top - gap), self.panel.title, "mb")
        self._write((middle, self.bottom + 3.5 * gap), "env steps", "mt")

    def _draw_band(self, line: Interval, colour: tuple[int, int, int]) -> None:
        layer = Image.new("L", self.image.size, 0)
        outline = self._points(line.high) + self._points(line.low)[::-1]
        ImageDraw.Draw(layer).polygon(outline, fill=60)
        self.image.paste(Image.new("RGB", self.image.size, colour), mask=layer)

    def _draw_legend(self) -> None:
        row, x = 18 * self.scale, self.right - 190 * self.scale
        for number, (colour, name) in enumerate(zip(COLOURS, self.panel.lines, strict=False)):
            y = self.bottom - row * (len(self.panel.lines) - number)
            ends = [(x, y), (x + 24 * self.scale, y)]
            self.pen.line(ends, fill=colour, width=3 * self.scale)
            self._write((x + 32 * self.scale, y), name, "lm")

    def _write(self, at: tuple[float, float], text: str, anchor: str) -> None:
        self.pen.text(at, text, fill=_INK, font=self.font, anchor=anchor)
