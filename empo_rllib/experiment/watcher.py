"""Ends the processes of a local run whose driver has died, and removes its temporary folder.

`temporary_folder.py` runs this file as a program, tied to the driver by a pipe. It imports no
module that takes time or memory, because every local run has one such process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator

# The driver writes this when it has cleaned up itself.
DONE = b"\n"
# Those that a terminal or a service manager sends to all processes of a session.
_IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1)
_POLL_S = 0.05
_GIVE_UP_S = 10.0


def watch(folder: str, driver: int) -> None:
    """Waits on stdin for the driver's end, and cleans up if it died before it could.

    Args:
        folder: The temporary folder of the run.
        driver: The process id of the driver, which must be the parent of this process.
    """
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    if os.read(0, 1) == DONE:
        return
    # The pipe is closed a moment before the process is gone, or long before by code of the user.
    while os.getppid() == driver:
        time.sleep(_POLL_S)
    end_processes(folder)
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def end_processes(folder: str) -> None:
    """Kills the processes of a run, and those that they start meanwhile.

    Until none is found twice: what is just being started has no variables for a moment.
    """
    deadline, num_without = time.monotonic() + _GIVE_UP_S, 0
    while num_without < 2 and time.monotonic() < deadline:
        num_without = 0 if _kill_processes(folder) else num_without + 1
        time.sleep(_POLL_S)


def _kill_processes(folder: str) -> int:
    """Kills each process as soon as it is found: later its id may be another process's."""
    count = 0
    for pid in processes_of(folder):
        count += 1
        with contextlib.suppress(OSError):  # it has ended
            os.kill(pid, signal.SIGKILL)
    return count


def processes_of(folder: str) -> Iterator[int]:
    """Yields the ids of other processes of this user that belong to a run's temporary folder."""
    for name in os.listdir("/proc"):
        if name.isdecimal() and int(name) != os.getpid() and _belongs(name, folder):
            yield int(name)


def _belongs(pid: str, folder: str) -> bool:
    """Whether `folder` is the TMPDIR of a process, or the process can write to a file in it.

    The title of a process may have replaced its environment variables; the dashboard's have.
    """
    try:
        if os.stat(f"/proc/{pid}").st_uid != os.geteuid():
            return False
        with open(f"/proc/{pid}/environ", "rb") as file:
            variables = file.read().split(b"\0")
        return os.fsencode(f"TMPDIR={folder}") in variables or _writes_in(pid, folder)
    except OSError:  # it has ended
        return False


def _writes_in(pid: str, folder: str) -> bool:
    return any(_is_written(pid, number, folder) for number in os.listdir(f"/proc/{pid}/fd"))


def _is_written(pid: str, number: str, folder: str) -> bool:
    try:
        target = os.readlink(f"/proc/{pid}/fd/{number}")
        return target.startswith(f"{folder}/") and _is_writable(pid, number)
    except OSError:  # it was closed meanwhile; the dashboard's agents open and close many
        return False


def _is_writable(pid: str, number: str) -> bool:
    with open(f"/proc/{pid}/fdinfo/{number}", "rb") as file:
        flags = dict(line.split(b":", 1) for line in file if b":" in line)[b"flags"]
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY


if __name__ == "__main__":
    watch(sys.argv[1], int(sys.argv[2]))
