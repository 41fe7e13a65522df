"""What commands show while they work, with a terminal and without one."""

from __future__ import annotations

import io
import sys
import time

import pytest

from empo_rllib import console
from empo_rllib.console import working


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def wait_for(self, text: str) -> None:
        """Waits for what another thread draws."""
        deadline = time.monotonic() + 60
        while text not in self.getvalue():
            assert time.monotonic() < deadline, self.getvalue()
            time.sleep(0.01)


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when the test says so."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(console, "time", clock)
    return clock


def test_without_a_terminal_there_is_a_line_at_once_and_few_later(clock, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # colours are no terminal
    with working("Playing [100] episodes") as tell:
        assert capsys.readouterr().err == "Playing [100] episodes\n"
        for number in range(1, 8):
            clock.now += 2
            tell(f"Playing pair {number} of 7")
    captured = capsys.readouterr()
    assert captured.err == "Playing pair 3 of 7\nPlaying pair 6 of 7\n"
    assert captured.out == ""


def test_a_terminal_shows_the_newest_text_and_is_empty_afterwards(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    with working("Loading [the] policies") as tell:
        terminal.wait_for("Loading [the] policies")
        tell("Playing pair 1 of 8")
        terminal.wait_for("Playing pair 1 of 8")
    assert "\n" in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[?25h\r\x1b[1A\x1b[2K")


def test_a_terminal_that_draws_nothing_over_gets_lines(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "dumb")
    with working("Playing"):
        pass
    assert terminal.getvalue() == "Playing\n"
