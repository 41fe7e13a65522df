"""`bars.json`: what the tests measured, beside what was asked for."""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections.abc import Iterator

import pytest
from repository import ROOT

BARS_FILE = ROOT / "bars.json"


class Suite:
    """The bars of one make target; those of its last run are forgotten when it starts."""

    def __init__(self, target: str, limit_s: float) -> None:
        self._target = target
        self._limit_s = limit_s
        self._started: float | None = None

    def start(self) -> None:
        self._started = time.monotonic()
        with _changing() as bars:
            for name in [name for name, bar in bars.items() if bar["suite"] == self._target]:
                del bars[name]

    def record(self, name: str, asked: str, measured: object, met: bool) -> None:
        """Adds a measured value; a time is recorded whether or not it is met, never asserted."""
        record_bar(self._target, name, asked, measured, met)

    def show(self, terminal: pytest.TerminalReporter) -> None:
        """Prints the bars, with the time that all of the tests took."""
        if self._started is None:
            return
        seconds = time.monotonic() - self._started
        asked = f"under {self._limit_s:g} s"
        self.record(self._target, asked, round(seconds), seconds < self._limit_s)
        terminal.section("bars")
        for name, bar in read_bars().items():
            if bar["suite"] == self._target:
                verdict = "met" if bar["met"] else "MISSED"
                terminal.write_line(
                    f"{verdict:7} {name}: {bar['measured']} (asked: {bar['asked']})"
                )


def record_bar(suite: str, name: str, asked: str, measured: object, met: bool) -> None:
    """Adds a measured value of a test that belongs to a make target."""
    with _changing() as bars:
        bars[name] = {"suite": suite, "asked": asked, "measured": measured, "met": met}


def read_bars() -> dict[str, dict]:
    text = BARS_FILE.read_text() if BARS_FILE.exists() else ""
    return json.loads(text or "{}")


@contextlib.contextmanager
def _changing() -> Iterator[dict[str, dict]]:
    """The bars, to be changed while nobody else does: tests and suites run at the same time."""
    with BARS_FILE.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        bars = read_bars()
        yield bars
        BARS_FILE.write_text(json.dumps(bars, indent=2) + "\n")
