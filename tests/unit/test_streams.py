"""Output that cannot be written changes nothing but the output."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from empo_rllib.streams import LossyStream

ROOT = Path(__file__).parents[2]
# Prints more than a pipe or a buffer holds, then ends with an exit code of its own.
COMMAND = """
import sys
from empo_rllib.command_line import reporting_errors

with reporting_errors():
    for number in range(3000):
        print("x" * 50)
        print("y" * 50, file=sys.stderr)
    with open(sys.argv[1], "w") as file:
        file.write("done")
    sys.exit(75)
"""
LOSSES = [
    "2>&1 | head -1",
    ">/dev/full",
    "2>/dev/full",
    ">/dev/full 2>&1",
    ">&-",
    "2>&-",
    ">&- 2>&-",
]


@pytest.mark.parametrize("loss", LOSSES)
def test_a_command_ends_as_it_would_have_with_all_output(tmp_path, loss):
    program = tmp_path / "program.py"
    program.write_text(COMMAND)
    line = f"{sys.executable} {program} {tmp_path / 'result'} {loss}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 75, done.stderr[-1000:]
    assert (tmp_path / "result").read_text() == "done"
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_a_stream_says_why_it_was_lost():
    with Path("/dev/full").open("w", buffering=1) as full:
        stream = LossyStream(lambda: full)
        assert stream.lost is None
        stream.write("text\n")
        assert "No space left on device" in str(stream.lost)
        assert not stream.isatty()
        stream.write("more\n")
        with contextlib.suppress(OSError):
            full.close()


def test_a_stream_that_is_closed_takes_everything():
    stream = LossyStream(lambda: None)
    assert stream.write("text") == 4
    stream.flush()
    assert not stream.isatty()
    assert stream.lost
