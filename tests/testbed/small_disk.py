"""A real disk that can be filled: what a full one refuses, and when, no stand-in knows."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")


@contextlib.contextmanager
def small_disk(folder: Path, size_kb: int = 1024, inodes: int = 10_000) -> Iterator[Path]:
    """Mounts an empty disk of this size, for so many files, on a folder.

    Skips the test where that is not allowed, as in many containers.
    """
    folder.mkdir(exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={size_kb}k,nr_inodes={inodes}", "tmpfs", str(folder)]
    mounted = subprocess.run(["mount", *options], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, free_kb: int = 0) -> None:
    """Fills the disk of a folder but for some room."""
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    size = (folder / "filler").stat().st_size
    os.truncate(folder / "filler", max(0, size - 1024 * free_kb))


def use_up_inodes(folder: Path) -> None:
    """Makes files until the disk of a folder takes no further one; they are in `filler`."""
    (folder / "filler").mkdir()
    with contextlib.suppress(OSError):
        for number in itertools.count():
            (folder / "filler" / str(number)).touch()
