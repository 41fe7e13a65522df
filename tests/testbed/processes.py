"""Processes that tests have started, told by the temporary folder that they were given."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path


def processes_of(temp: Path) -> dict[int, str]:
    """Returns the living processes whose TMPDIR is `temp` or below it: id to command line.

    Ray's agents write their titles over their variables, but have files open there.
    """
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(process.name) != os.getpid() and _is_of(process, temp):
                text = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[int(process.name)] = text.strip()
    return found


def _is_of(process: Path, temp: Path) -> bool:
    marker = f"TMPDIR={temp}".encode()
    values = (process / "environ").read_bytes().split(b"\0")
    if any(value == marker or value.startswith(marker + b"/") for value in values):
        return True
    return any(_leads_to(file, temp) for file in (process / "fd").iterdir())


def _leads_to(descriptor: Path, temp: Path) -> bool:
    with contextlib.suppress(OSError):  # it was closed meanwhile
        return os.readlink(descriptor).startswith(f"{temp}/")
    return False


def end_processes_of(temp: Path) -> None:
    """Kills them all and removes the folder."""
    for pid in processes_of(temp):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(temp, ignore_errors=True)
