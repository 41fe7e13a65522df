"""Warnings about an environment, from the processes that sample to the user.

They are logged where they come up, in a process of which only Ray keeps the log. So each process
also writes them into a file of its trial, which the driver reads.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
from pathlib import Path

from empo_rllib.files import write_whole

_PREFIX = "env_warnings_"


class _Keeper(logging.Handler):
    """Writes the warnings of this process into a file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(logging.WARNING)
        self.folder = folder
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Adds a line, unless it is there."""
        line = " ".join(record.getMessage().split())
        if line not in self._lines:
            self._lines.append(line)
            path = self.folder / f"{_PREFIX}{platform.node()}_{os.getpid()}.txt"
            with contextlib.suppress(OSError):  # a full disk is the trial's to report
                write_whole(path, "".join(f"{line}\n" for line in self._lines))


def keep_warnings(folder: Path) -> None:
    """Has what `empo_rllib.envs` warns of in this process written into the folder of its trial."""
    logger = logging.getLogger("empo_rllib.envs")
    for handler in [h for h in logger.handlers if isinstance(h, _Keeper)]:
        if handler.folder == folder:
            return
        logger.removeHandler(handler)
    logger.addHandler(_Keeper(folder))


def warning_files(folder: Path) -> list[Path]:
    """Returns the files in a trial's folder that hold warnings, one for each process."""
    return sorted(folder.glob(f"{_PREFIX}*.txt"))


def read_warnings(folder: Path) -> list[str]:
    """Returns what the processes of a trial have warned of, each text once."""
    lines: dict[str, None] = {}
    for path in warning_files(folder):
        with contextlib.suppress(OSError):  # a new session of the trial has removed it
            lines.update(dict.fromkeys(path.read_text().splitlines()))
    return list(lines)
