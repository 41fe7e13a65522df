"""Signals that end an experiment with its state saved.

Ctrl-C, TERM, USR1 and HUP (a lost connection) ask every running trial to stop after its current
training iteration and save; a second Ctrl-C ends the process at once. HUP has no effect under
`nohup`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

from ray.tune import Stopper

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class Interruption:
    """Whether, when and by which signal the experiment was asked to stop."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.signal_name = ""
        self.since = 0.0
        self.on_give_up: Callable[[], None] = lambda: None
        self._num_ctrl_c = 0
        is_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._signals = _SIGNALS[:-1] if is_nohup else _SIGNALS

    def seconds(self) -> float:
        """Seconds since the first signal."""
        return time.monotonic() - self.since if self.asked.is_set() else 0.0

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handles the signals meanwhile; a second Ctrl-C ends the process, after `on_give_up`.

        Only the main thread may handle signals; elsewhere this does nothing.
        """
        previous = {number: signal.getsignal(number) for number in self._signals}
        self.listen()
        try:
            yield
        finally:
            if threading.current_thread() is threading.main_thread():
                for number, handler in previous.items():
                    signal.signal(number, handler)

    def listen(self) -> None:
        """Puts the handlers in place, again after something else has replaced them."""
        if threading.current_thread() is threading.main_thread():
            for number in self._signals:
                signal.signal(number, self._handle)

    def _handle(self, number: int, _: object) -> None:
        self._num_ctrl_c += number == signal.SIGINT
        if self._num_ctrl_c > 1:
            try:
                self.on_give_up()  # may fail: the signal may have come in the middle of a print
            finally:
                os._exit(130)
        if not self.signal_name:  # not `asked`, whose lock this may have been called under
            self.signal_name = signal.Signals(number).name
            self.since = time.monotonic()
            self.asked.set()


# Tune pickles its stoppers and callbacks, and events cannot be pickled: these refer to the
# running experiment's interruption by this name.
current = Interruption()
running_trials: set[str] = set()


def reset() -> Interruption:
    """Starts a new experiment in this process, not interrupted."""
    global current
    current = Interruption()
    running_trials.clear()
    return current


class InterruptStopper(Stopper):
    """Tells Tune to stop each trial at its next result, and not to start further ones."""

    def __call__(self, trial_id: str, result: dict[str, object]) -> bool:
        return current.asked.is_set()

    def stop_all(self) -> bool:
        return current.asked.is_set() and not running_trials
