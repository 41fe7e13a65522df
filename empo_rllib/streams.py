"""Output that may be lost: a closed pipe, a full disk or a hung-up terminal ends no work."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast

from empo_rllib.terminal import printable_drawn

_STANDARD = (0, 1, 2)


class LossyStream:
    """A text stream that discards what can no longer be written.

    What could steer a terminal is escaped, except colours and what live displays need: everything
    that a command prints passes here.

    Args:
        find: Returns the stream to write to; None where it is closed.
    """

    def __init__(self, find: Callable[[], TextIO | None]) -> None:
        self._find = find
        self._lost: str | None = None

    @property
    def lost(self) -> str | None:
        """Why nothing is written any more, or None."""
        stream = self._find()
        return "it is closed" if stream is None else self._lost or getattr(stream, "lost", None)

    def write(self, text: str) -> int:
        """Writes text, if that is still possible."""
        self._try("write", printable_drawn(text))
        return len(text)

    def flush(self) -> None:
        """Flushes the stream, if that is still possible."""
        self._try("flush")

    def isatty(self) -> bool:
        """Whether it is a terminal that can be written to."""
        stream = self._find()
        return self.lost is None and stream is not None and stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._find(), name)

    def _try(self, method: str, *args: str) -> None:
        if self.lost is None:
            try:
                getattr(self._find(), method)(*args)
            except (OSError, ValueError) as error:  # ValueError: it was closed in this process
                self._lost = str(error)


@contextlib.contextmanager
def lossy_output() -> Iterator[None]:
    """Makes stdout and stderr lossy for a whole command.

    Python would flush them again at its end and exit with code 120.
    """
    _open_closed_descriptors()
    stdout, stderr = sys.stdout, sys.stderr
    lossy = LossyStream(lambda: stdout), LossyStream(lambda: stderr)
    sys.stdout, sys.stderr = cast("tuple[TextIO, TextIO]", lossy)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = stdout, stderr
        for descriptor, stream in enumerate(lossy, start=1):
            stream.flush()
            if stream.lost:
                _discard(descriptor)


def _open_closed_descriptors() -> None:
    """Keeps the numbers of closed standard streams from files, which would get their output."""
    for descriptor in _STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            _discard(descriptor)


def _discard(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null != descriptor:
        os.dup2(null, descriptor)
        os.close(null)
