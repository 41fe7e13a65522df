"""Pictures of an environment with a caption: who did what, and what it was worth so far."""

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
_LINE_HEIGHT = 24
_PADDING = 12
_GAP = 14
_SWATCH = 12
_REWARD = "reward  "
_BACKGROUND = (24, 26, 30)
_TEXT = (240, 240, 240)
_FAINT = (130, 134, 140)
_GOOD = (110, 210, 120)
_BAD = (240, 120, 100)

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class AgentLine:
    """What the caption says of one agent.

    Attributes:
        name: the agent.
        action: its last action.
        reward: the sum of its rewards so far.
        colour: its colour in the picture, where it has one.
        present: whether it is still there.
    """

    name: str
    action: str
    reward: float
    colour: Colour | None = None
    present: bool = True


@dataclass(frozen=True)
class Caption:
    """All that is written under one picture.

    Attributes:
        title: episode, step, reward.
        agents: one line each.
        outcome: how the episode ended, if it has.
        success: whether `outcome` is good news; None: neither.
    """

    title: str
    agents: Sequence[AgentLine]
    outcome: str = ""
    success: bool | None = None


class Layout:
    """Places captions, the same way in every frame of a film.

    Args:
        picture_size: Width and height of the environment's pictures.
        names: All agents' names.
        coloured: Whether agents have colours.
        longest_action: An action text that leaves room for all others.
    """

    def __init__(
        self,
        picture_size: tuple[int, int],
        names: Sequence[str],
        coloured: bool,
        longest_action: str,
    ) -> None:
        self._swatch_width = _SWATCH + _GAP if coloured else 0
        self._name_width = max(_text_width(name) for name in names)
        self._action_width = _text_width(longest_action)
        self._reward_width = _text_width(f"{_REWARD}-000.00")
        widths = (self._swatch_width, self._name_width, self._action_width, self._reward_width)
        self._column = sum(widths) + 2 * _GAP
        self._picture = _scaled(picture_size)
        # At least one column wide; H.264 wants even sizes.
        self.width = _even(max(self._picture[0], self._column + 2 * _PADDING))
        between = 3 * _GAP
        inner = self.width - 2 * _PADDING + between
        self._num_columns = max(1, min(len(names), inner // (self._column + between)))
        self._num_rows = -(-len(names) // self._num_columns)
        self._column_step = inner // self._num_columns
        caption = 2 * _PADDING + _LINE_HEIGHT * (1 + self._num_rows)
        self.height = _even(self._picture[1] + caption)

    def draw(self, picture: np.ndarray, caption: Caption) -> Image.Image:
        """Returns one frame.

        Args:
            picture: uint8, shape (height, width, 3).
            caption: what to write under it.
        """
        frame = Image.new("RGB", (self.width, self.height), _BACKGROUND)
        image = Image.fromarray(picture)
        enlarged = self._picture[0] >= image.width
        method = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
        frame.paste(image.resize(self._picture, method), ((self.width - self._picture[0]) // 2, 0))
        draw = ImageDraw.Draw(frame)
        y = self._picture[1] + _PADDING + _LINE_HEIGHT // 2
        _write(draw, _PADDING, y, caption.title, _TEXT)
        colour = {None: _TEXT, True: _GOOD, False: _BAD}[caption.success]
        _write(draw, self.width - _PADDING, y, caption.outcome, colour, anchor="rm")
        for index, line in enumerate(caption.agents):
            column, row = divmod(index, self._num_rows)
            x = _PADDING + column * self._column_step
            self._draw_line(draw, x, y + (row + 1) * _LINE_HEIGHT, line)
        return frame

    def _draw_line(self, draw: ImageDraw.ImageDraw, x: int, y: int, line: AgentLine) -> None:
        ink = _TEXT if line.present else _FAINT
        if line.colour is not None:
            half = _SWATCH // 2
            draw.rectangle((x, y - half, x + _SWATCH, y + half), fill=line.colour)
        x += self._swatch_width
        _write(draw, x, y, line.name, ink)
        x += self._name_width + _GAP
        _write(draw, x, y, line.action, ink)
        x += self._action_width + _GAP
        _write(draw, x, y, _REWARD, _FAINT)
        _write(draw, x + self._reward_width, y, f"{line.reward:.2f}", ink, anchor="rm")


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_FONT_SIZE)


def _text_width(text: str) -> int:
    return int(np.ceil(_font().getlength(text)))


def _write(
    draw: ImageDraw.ImageDraw, x: int, y: int, text: str, colour: Colour, anchor: str = "lm"
) -> None:
    draw.text((x, y), text, colour, font=_font(), anchor=anchor)


def _scaled(size: tuple[int, int]) -> tuple[int, int]:
    width, height = size
    if width > MAX_WIDTH:
        return MAX_WIDTH, max(1, round(height * MAX_WIDTH / width))
    factor = -(-MIN_WIDTH // width) if width < MIN_WIDTH else 1
    return width * factor, height * factor


def _even(number: int) -> int:
    return number + number % 2
