"""Files that the commands write where `--out` says, whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from empo_rllib.errors import ConfigError


def check_output(out: Path, suffixes: Sequence[str]) -> None:
    """Refuses a file that could not be written, without writing anything.

    Raises:
        ConfigError: the suffix or the folder is wrong.
    """
    if out.suffix.lower() not in suffixes:
        raise ConfigError(f"--out {out}: the file's name must end in {' or '.join(suffixes)}.")
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder. Give the name of a file.")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}.")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"--out {out}: no permission to write to {out.parent}.")


@contextlib.contextmanager
def refusing_unwritable(path: Path) -> Iterator[None]:
    """Turns a disk's errors, and only those, into messages: what is written may raise as well."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"--out: cannot write to {path.parent}: {error}") from error


def write_text(text: str, out: Path) -> None:
    """Writes a text file; it appears when it is complete.

    Raises:
        ConfigError: it cannot be written.
    """
    temporary = out.with_name(f".{out.stem}.tmp{out.suffix}")
    try:
        with refusing_unwritable(temporary):
            temporary.write_text(text, "utf-8")
            os.replace(temporary, out)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
