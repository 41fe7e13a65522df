"""Reports calls of an environment that do not return.

Nothing can end such a call but the end of its process, and whoever waits for it only sees that
nothing happens. So a thread of the process writes which call it is into a file of the trial, again
at growing intervals, and removes the file when the call returns.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
from pathlib import Path

from empo_rllib.files import write_whole

REPORT_AFTER_S = 60.0
_LOOK_EVERY_S = 1.0
_PREFIX = "slow_env_call_"


class CallWatch:
    """Watches the environments of one process, which are called one at a time."""

    def __init__(self) -> None:
        # Replaced as a whole, so the thread needs no lock.
        self._call: tuple[Path, str, float] | None = None
        self._thread: threading.Thread | None = None

    def begin(self, folder: Path, method: str) -> None:
        """Takes note of a call under way; `folder` is where it is reported."""
        self._call = folder, method, time.monotonic()
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="slow-env-calls", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Takes note that the call has returned."""
        self._call = None

    def _watch(self) -> None:
        while True:
            call = self._call
            if call is not None and time.monotonic() - call[2] >= REPORT_AFTER_S:
                self._follow(call)
            time.sleep(_LOOK_EVERY_S)

    def _follow(self, call: tuple[Path, str, float]) -> None:
        """Reports a call at once, and again whenever it has taken twice as long."""
        folder, method, since = call
        report = folder / f"{_PREFIX}{platform.node()}_{os.getpid()}.txt"
        due = 0.0
        while self._call is call:
            seconds = time.monotonic() - since
            if seconds >= due:
                due = 2 * seconds
                text = f"{method}() has not returned for {seconds:.0f} s"
                with contextlib.suppress(OSError):  # a full disk is the trial's to report
                    write_whole(report, f"{text} (process {os.getpid()} on {platform.node()})\n")
            time.sleep(_LOOK_EVERY_S)
        report.unlink(missing_ok=True)


watch = CallWatch()


def slow_call_reports(folder: Path) -> list[Path]:
    """Returns the files that report calls of a trial's environments, one for each process."""
    return sorted(folder.glob(f"{_PREFIX}*.txt"))
