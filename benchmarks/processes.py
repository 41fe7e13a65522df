"""A command's processes: which there are, what they are called, their memory and CPU time."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def family(root: int) -> list[int]:
    """Returns a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(_fields(stat.read_text())[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def program(pid: int) -> str:
    """Returns what a process runs, without folders; of one of Ray's what Ray calls it."""
    words = Path("/proc", str(pid), "cmdline").read_bytes().decode().split("\0")
    words = words[0].split(" ") + words[1:]
    is_python = Path(words[0]).name.startswith("python")
    named = next((word for word in words[1:] if is_python and not word.startswith("-")), words[0])
    name = Path(named).name
    return name.partition(".")[0] if name.startswith("ray::") else name  # then what it does


def private_mb(pid: int) -> float:
    """Returns memory that only this process has, and has written (`Private_Dirty`).

    Clean pages do not count: those of libraries become private, by tens of MB, when another process
    that has loaded them ends.
    """
    lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
    kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:"))
    return round(kilobytes / 1024, 3)


def cpu_s(pid: int) -> float:
    """Returns the CPU time that a process has used, without its children's."""
    fields = _fields(Path("/proc", str(pid), "stat").read_text())
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _fields(stat: str) -> list[str]:
    """Returns what follows the name in `/proc/PID/stat`, which may hold spaces: the state first."""
    return stat.rpartition(")")[2].split()
