"""Tables and live displays, in which the text of others is shown as it is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment

from empo_rllib.terminal import printable

# Takes the newest text about what a command does.
Tell = Callable[[str], None]

# Without a terminal: enough to see that a command is alive, few enough for a log.
_LINE_EVERY_S = 5.0
# In ASCII, which every terminal shows.
SPINNER = "line"


class PrintableConsole(Console):
    """A console that escapes what could steer the terminal, and adds neither colours nor emoji."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, emoji=False, **options)

    @property
    def is_live(self) -> bool:
        """Whether lines can be drawn over; `FORCE_COLOR` makes a log no terminal."""
        return self.is_interactive and self.file.isatty()

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yields the segments of `rich`'s console."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)


@contextlib.contextmanager
def working(text: str) -> Iterator[Tell]:
    """Shows on stderr what a command does, until it is done.

    A terminal shows a spinner with the newest text. Elsewhere the first text is a line, and so is
    a later one that comes some seconds after the line before it.

    Args:
        text: What the command does first.
    """
    console = PrintableConsole(stderr=True)
    if console.is_live:
        with console.status(escape(text), spinner=SPINNER) as status:
            yield lambda newest: status.update(escape(newest))
        return
    last_line = time.monotonic()

    def tell(newest: str) -> None:
        nonlocal last_line
        if time.monotonic() - last_line >= _LINE_EVERY_S:
            last_line = time.monotonic()
            console.print(newest, markup=False, soft_wrap=True)

    console.print(text, markup=False, soft_wrap=True)
    yield tell
