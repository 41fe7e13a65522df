"""How long an examination may take, whatever the environment does."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from empo_rllib.envs.step_limit import EPISODE_LIMIT


@dataclass(frozen=True)
class Limits:
    """When to stop.

    Attributes:
        episodes: of the random policy.
        env_steps: of the random policy, over all episodes.
        play_s: for playing them.
        episode_steps: env steps until the first episode counts as endless, however long they take.
        episode_s: for these, at most.
        repeat_steps: env steps that are repeated with the same seed.
        repeat_s: for playing them once.
        call_s: for one call of the environment.
    """

    episodes: int = 20
    env_steps: int = 20_000
    play_s: float = 8.0
    episode_steps: int = EPISODE_LIMIT
    episode_s: float = 60.0
    repeat_steps: int = 100
    repeat_s: float = 1.0
    call_s: float = 30.0


class TimeUp(BaseException):
    """A call took too long. Not an `Exception`, which environments catch."""


@contextlib.contextmanager
def time_limit(limit_s: float) -> Iterator[None]:
    """Raises `TimeUp` inside the block when it takes longer.

    Only the main thread can be interrupted, and only between two lines of Python: a loop in
    compiled code goes on. Numba's compiling is no part of a call, for it happens once, and is let
    come to its end: what it was interrupted at could never be called again in this process. An
    alarm that was set before is set again afterwards.
    """

    def on_alarm(signal_number: int, frame: FrameType | None) -> None:
        if _is_compiling(frame):
            signal.setitimer(signal.ITIMER_REAL, limit_s, 1.0)
        else:
            raise TimeUp

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    started = time.monotonic()
    old_handler = signal.signal(signal.SIGALRM, on_alarm)
    # Again every second: a bare `except` in the environment swallows the first.
    old_delay_s, old_interval_s = signal.setitimer(signal.ITIMER_REAL, limit_s, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old_handler)
        if old_delay_s:
            left_s = max(old_delay_s - (time.monotonic() - started), 0.001)
            signal.setitimer(signal.ITIMER_REAL, left_s, old_interval_s)


def _is_compiling(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(("numba.", "llvmlite.")):
            return True
        frame = frame.f_back
    return False
