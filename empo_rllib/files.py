"""Files and folders that appear whole or not at all, also on a full disk and after a power cut.

The new content is written beside the old, flushed to the disk and renamed into its place.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file, replacing one that exists.

    Raises:
        OSError: it cannot be written; what was there before is unchanged.
    """
    with appearing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Yields a path for a file or folder that takes the place of `path` when the block ends.

    If the block raises, `path` stays as it was and nothing else stays. The yielded name begins
    with a dot and keeps the suffix, which tells some libraries the format.

    Raises:
        OSError: `path` cannot be replaced.
    """
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    try:
        remove(temporary)  # a killed process may have left it
        yield temporary
        put_in_place(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            remove(temporary)


def put_in_place(temporary: Path, path: Path) -> None:
    """Flushes a finished file or folder to the disk and renames it to `path`, beside it.

    Raises:
        OSError: the disk is full, or `path` cannot be replaced.
    """
    _flush(temporary)
    if temporary.is_dir():
        remove(path)
    os.replace(temporary, path)
    _flush_folder(path.parent)


def set_aside(path: Path) -> Path:
    """Renames something damaged to `damaged_NAME`, and returns that."""
    aside = path.with_name(f"damaged_{path.name}")
    remove(aside)
    path.rename(aside)
    return aside


def remove(path: Path) -> None:
    """Removes a file or a folder, if it is there.

    A folder is renamed first: a process that is killed in between leaves no half of one under its
    name, only a folder that begins with a dot.
    """
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    doomed = path.with_name(f".{path.name.lstrip('.')}.old")
    if path != doomed:
        shutil.rmtree(doomed, ignore_errors=True)
        os.replace(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _flush_folder(folder: Path) -> None:
    """Makes what was created, renamed or removed in a folder outlast a power cut."""
    with contextlib.suppress(OSError):  # not every file system can
        _fsync(folder)


def _flush(path: Path) -> None:
    if path.is_dir():
        for child in path.iterdir():
            _flush(child)
        _flush_folder(path)
    else:
        _fsync(path)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
