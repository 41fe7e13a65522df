"""Text of others, such as names, exceptions and answers, cannot steer a terminal.

Every character that could is shown as its number: C0 (not newline and tab), DEL, C1, marks that
change the direction of reading, and halves of characters, which no terminal can show.
"""

from __future__ import annotations

import logging
import re

_CONTROLS = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
_STYLE = r"\x1b\[[0-9;]*m"
# What `rich` prints to hide the cursor and to draw over lines.
_LIVE = r"\r|\x1b\[(?:2K|1A|\?25[lh])"
_PLAIN = re.compile(_CONTROLS)
_STYLED = re.compile(f"(?P<kept>{_STYLE})|{_CONTROLS}")
_DRAWN = re.compile(f"(?P<kept>{_STYLE}|{_LIVE})|{_CONTROLS}")


def printable(text: str) -> str:
    r"""Returns text with `\u001b` in the place of each character that could steer a terminal.

    JSON stays JSON.
    """
    return _PLAIN.sub(_escape, text)


def printable_styled(text: str) -> str:
    """Returns the same, with colours left as they are."""
    return _STYLED.sub(_escape, text)


def printable_drawn(text: str) -> str:
    """Returns the same, with colours and what live displays print left as they are."""
    return _DRAWN.sub(_escape, text)


class PrintableFormatter(logging.Formatter):
    """Formats the records of a log as text that cannot steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the message."""
        return printable(super().format(record))


def _escape(match: re.Match[str]) -> str:
    return match.groupdict().get("kept") or f"\\u{ord(match[0]):04x}"
