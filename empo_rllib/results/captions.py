"""Pictures of an environment with a caption that can be read without anything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Pictures are enlarged by whole factors to at least the first width, and shrunk to the second.
MIN_WIDTH = 448
MAX_WIDTH = 800

_FONT_SIZE = 16
_SMALLEST_FONT_SIZE = 8
_LINE_HEIGHT = 24
_PADDING = 12
_GAP = 14
_SWATCH = 12
_ACTION = "last action"
_RETURN = "return so far"
_BACKGROUND = (24, 26, 30)
_TEXT = (240, 240, 240)
_FAINT = (150, 154, 160)
_GOOD = (110, 210, 120)
_BAD = (240, 120, 100)

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class AgentLine:
    """The row of one agent in the caption.

    Attributes:
        name: the agent.
        action: its last action.
        episode_return: the sum of its rewards so far.
        colour: its colour in the picture, where it has one.
        present: whether it is still there.
    """

    name: str
    action: str
    episode_return: float
    colour: Colour | None = None
    present: bool = True


@dataclass(frozen=True)
class Caption:
    """The text under one picture, apart from what is the same in the whole film.

    Attributes:
        title: which episode.
        progress: step and return so far.
        agents: one line each.
        outcome: how the episode ended, if it has.
        success: whether `outcome` is good news; None: neither.
    """

    title: str
    progress: str
    agents: Sequence[AgentLine]
    outcome: str = ""
    success: bool | None = None


class Layout:
    """Places captions, the same way in every frame of a film.

    Text that is too wide for the picture is wrapped (`about`) or written smaller (all else).

    Args:
        picture_size: Width and height of the environment's pictures.
        names: All agents' names.
        coloured: Whether agents have colours.
        longest_action: An action text that leaves room for all others.
        about: Paragraphs that stand above each caption.
    """

    def __init__(
        self,
        picture_size: tuple[int, int],
        names: Sequence[str],
        coloured: bool,
        longest_action: str,
        about: Sequence[str] = (),
    ) -> None:
        self._swatch_width = _SWATCH + _GAP if coloured else 0
        self._name_width = max(_text_width(name) for name in names)
        self._action_width = max(_text_width(longest_action), _text_width(_ACTION))
        self._return_width = _text_width(_RETURN)
        widths = (self._swatch_width, self._name_width, self._action_width, self._return_width)
        self._column = sum(widths) + 2 * _GAP
        self._picture = _scaled(picture_size)
        # At least one column wide; H.264 wants even sizes.
        self.width = _even(max(self._picture[0], self._column + 2 * _PADDING))
        self._inner = self.width - 2 * _PADDING
        between = 3 * _GAP
        places = self._inner + between
        self._num_columns = max(1, min(len(names), places // (self._column + between)))
        self._num_rows = -(-len(names) // self._num_columns)
        self._column_step = places // self._num_columns
        self._about = [line for text in about for line in _wrapped(text, self._inner)]
        num_lines = len(self._about) + 2 + 1 + self._num_rows
        self.height = _even(self._picture[1] + 2 * _PADDING + _LINE_HEIGHT * num_lines)

    def draw(self, picture: np.ndarray, caption: Caption) -> Image.Image:
        """Returns one frame.

        Args:
            picture: uint8, shape (height, width, 3).
            caption: The text under it.
        """
        frame = Image.new("RGB", (self.width, self.height), _BACKGROUND)
        image = Image.fromarray(picture)
        enlarged = self._picture[0] >= image.width
        method = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
        frame.paste(image.resize(self._picture, method), ((self.width - self._picture[0]) // 2, 0))
        draw = ImageDraw.Draw(frame)
        y = self._picture[1] + _PADDING + _LINE_HEIGHT // 2
        for line in self._about:
            _write(draw, _PADDING, y, line, _FAINT, self._inner)
            y += _LINE_HEIGHT
        self._draw_title(draw, y, caption)
        _write(draw, _PADDING, y + _LINE_HEIGHT, caption.progress, _TEXT, self._inner)
        self._draw_agents(draw, y + 2 * _LINE_HEIGHT, caption.agents)
        return frame

    def _draw_title(self, draw: ImageDraw.ImageDraw, y: int, caption: Caption) -> None:
        room = self._inner
        if caption.outcome:
            colour = {None: _TEXT, True: _GOOD, False: _BAD}[caption.success]
            _write(draw, self.width - _PADDING, y, caption.outcome, colour, room, anchor="rm")
            room -= _text_width(caption.outcome) + _GAP
        _write(draw, _PADDING, y, caption.title, _TEXT, room)

    def _draw_agents(self, draw: ImageDraw.ImageDraw, y: int, agents: Sequence[AgentLine]) -> None:
        for start in range(0, len(agents), self._num_rows):
            x = _PADDING + start // self._num_rows * self._column_step
            self._draw_cells(draw, x, y, "", _ACTION, _RETURN, _FAINT)
            for row, line in enumerate(agents[start : start + self._num_rows], start=1):
                self._draw_line(draw, x, y + row * _LINE_HEIGHT, line)

    def _draw_line(self, draw: ImageDraw.ImageDraw, x: int, y: int, line: AgentLine) -> None:
        ink = _TEXT if line.present else _FAINT
        if line.colour is not None:
            half = _SWATCH // 2
            draw.rectangle((x, y - half, x + _SWATCH, y + half), fill=line.colour)
        self._draw_cells(draw, x, y, line.name, line.action, f"{line.episode_return:.2f}", ink)

    def _draw_cells(
        self,
        draw: ImageDraw.ImageDraw,
        x: int,
        y: int,
        name: str,
        action: str,
        episode_return: str,
        ink: Colour,
    ) -> None:
        x += self._swatch_width
        _write(draw, x, y, name, ink, self._name_width)
        x += self._name_width + _GAP
        _write(draw, x, y, action, ink, self._action_width)
        x += self._action_width + _GAP + self._return_width
        _write(draw, x, y, episode_return, ink, self._return_width, anchor="rm")


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _text_width(text: str, size: int = _FONT_SIZE) -> int:
    return int(np.ceil(_font(size).getlength(text)))


def _write(
    draw: ImageDraw.ImageDraw,
    x: int,
    y: int,
    text: str,
    colour: Colour,
    room: int,
    anchor: str = "lm",
) -> None:
    """Writes one line, in a smaller font where it is wider than `room` pixels."""
    sizes = range(_FONT_SIZE, _SMALLEST_FONT_SIZE, -1)
    size = next((size for size in sizes if _text_width(text, size) <= room), _SMALLEST_FONT_SIZE)
    draw.text((x, y), text, colour, font=_font(size), anchor=anchor)


def _wrapped(text: str, room: int) -> list[str]:
    """Returns the lines of a paragraph, each at most `room` pixels wide.

    Lines break between words, and within a word where it has no room on a line of its own.
    """
    lines = [""]
    for word in text.split():
        if lines[-1] and _text_width(f"{lines[-1]} {word}") > room:
            lines.append("")
        elif lines[-1]:
            lines[-1] += " "
        for character in word:
            if lines[-1] and _text_width(lines[-1] + character) > room:
                lines.append("")
            lines[-1] += character
    return lines


def _scaled(size: tuple[int, int]) -> tuple[int, int]:
    width, height = size
    if width > MAX_WIDTH:
        return MAX_WIDTH, max(1, round(height * MAX_WIDTH / width))
    factor = -(-MIN_WIDTH // width) if width < MIN_WIDTH else 1
    return width * factor, height * factor


def _even(number: int) -> int:
    return number + number % 2
