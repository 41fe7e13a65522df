"""The working tree, and copies of it that belong to a test's user."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_TIMEOUT_S = 900.0  # only a hang reaches it, also on a slow machine


def copy_repository(folder: Path) -> None:
    """Copies what a clone of the working tree would hold: no ignored file, no cache, no result."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if not (ROOT / name).exists():
            continue  # removed and not committed yet
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)  # with its time, which compiled kernels go by


def own(folder: Path, user: int) -> None:
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, user, user, follow_symlinks=False)


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = _TIMEOUT_S) -> float:
    """Waits, and returns how many seconds it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.3)
    return time.monotonic() - started
