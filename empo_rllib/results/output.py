"""Files that commands write: refused before the work where they cannot be, whole afterwards."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from empo_rllib.errors import ConfigError
from empo_rllib.files import write_whole


def check_output(option: str, out: Path, suffixes: Sequence[str]) -> None:
    """Refuses a file that could not be written, without writing anything.

    Args:
        option: how it was given.
        out: the file.
        suffixes: what its name may end in.

    Raises:
        ConfigError: as said.
    """
    if out.suffix.lower() not in suffixes:
        raise ConfigError(f"{option} {out}: the file's name must end in {' or '.join(suffixes)}.")
    if out.is_dir():
        raise ConfigError(f"{option} {out} is a folder. Give the name of a file.")
    if not out.parent.is_dir():
        raise ConfigError(f"{option} {out}: there is no folder {out.parent}.")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"{option} {out}: no permission to write to {out.parent}.")


@contextlib.contextmanager
def refusing_unwritable(option: str, out: Path) -> Iterator[None]:
    """Turns a disk's errors, and only those, into messages: what is written may raise as well."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{option} {out}: cannot be written: {error}") from error


def write_output(option: str, out: Path, content: str | bytes) -> None:
    """Writes a file, replacing one that exists; it appears when it is complete.

    Raises:
        ConfigError: it cannot be written.
    """
    with refusing_unwritable(option, out):
        write_whole(out, content)
