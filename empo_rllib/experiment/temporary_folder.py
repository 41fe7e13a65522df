"""The temporary folder of a local run: for its user only, and removed however the run ends.

A lock on the token tells a living run from a dead one, also across containers.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from empo_rllib.errors import ResourceError
from empo_rllib.experiment import watcher

_LOG = logging.getLogger(__name__)

TOKEN_FILE = "token"
# Ray opens its folder to everybody (`try_make_directory_shared`), so that is below a private one.
RAY_FOLDER = "ray"
# Ray's socket paths must stay under 107 bytes, of which 68 come after its folder.
_LONGEST_RAY_FOLDER = 39
_PREFIX = "empo-"
# What `mkdtemp` makes of it. The folders of SLURM jobs have shorter names.
_NAME = re.compile(_PREFIX + "[a-z0-9_]{8}")
_SESSIONS = ("session_*", f"{RAY_FOLDER}/session_*")  # the former: of older versions


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Makes the folder, with a token in it, and removes it after.

    If this process is killed, a watcher ends the processes of the run and removes the folder.

    Raises:
        ResourceError: the folder cannot be made.
    """
    parent = short_temp_folder()
    remove_leftovers(Path(parent))
    with contextlib.ExitStack() as stack:
        try:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            stack.enter_context(_watched(folder))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.enter_context(_locked_token(folder / TOKEN_FILE))
        except OSError as error:
            raise ResourceError(
                f"{parent}: no temporary folder can be made there: {error}. Free some space, or "
                "name another folder: TMPDIR=/path"
            ) from error
        yield folder


def remove_leftovers(parent: Path) -> None:
    """Removes the temporary folders that dead runs of this user left in `parent`, and names them.

    This happens when a run was killed together with its watcher.
    """
    left = [str(folder) for folder in parent.glob(f"{_PREFIX}*") if _is_left(folder)]
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    if left:
        _LOG.warning("removed temporary files of runs that were killed: %s", ", ".join(left))


def short_temp_folder() -> str:
    """Returns the temporary folder of this machine, or /tmp if its path is too long for Ray."""
    preferred = tempfile.gettempdir()
    longest = _LONGEST_RAY_FOLDER - len(f"/{_PREFIX}12345678/{RAY_FOLDER}")
    return preferred if len(os.fsencode(preferred)) <= longest else "/tmp"


@contextlib.contextmanager
def _watched(folder: Path) -> Iterator[None]:
    """Starts the watcher, in a session of its own: Ctrl-C does not reach it."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", watcher.__file__, str(folder), str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.communicate(watcher.DONE)


@contextlib.contextmanager
def _locked_token(path: Path) -> Iterator[None]:
    """Writes a token and holds its lock; the lock goes with this process, however it ends."""
    path.touch(mode=0o600)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # before it has content, see `_is_left`
        file.write(secrets.token_hex(32))
        file.flush()
        yield


def _is_left(folder: Path) -> bool:
    """Whether this is a run's folder, the run is dead and so are its processes."""
    try:
        is_ours = folder.lstat().st_uid == os.geteuid() and not folder.is_symlink()
        if not (is_ours and folder.is_dir() and _NAME.fullmatch(folder.name)):
            return False
        token = folder / TOKEN_FILE
        is_run = token.is_file() and token.stat().st_size > 0
        if not is_run and not any(list(folder.glob(pattern)) for pattern in _SESSIONS):
            return False
        return not _is_locked(token) and not any(watcher.processes_of(str(folder)))
    except OSError:  # the run has just ended
        return False


def _is_locked(token: Path) -> bool:
    if not token.is_file():
        return False
    with token.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
