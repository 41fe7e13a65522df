"""A terminal that goes away: output is lost first, then the connection hangs up."""

from __future__ import annotations

import os
import signal

import pytest
from commands import TUNE, Outcome, Run, Running, Workplace

NAME = "lost"


@pytest.fixture(scope="module")
def hung_up(place: Workplace) -> Outcome:
    """The reader of stderr leaves after one line; later all processes get SIGHUP."""
    config = place.write_experiment(
        name=NAME, stop={"env_steps": 1_000_000}, checkpoint={"frequency": 1000}
    )
    tune = f"exec {' '.join(TUNE)} --config {config} 2> >(head -n 1 >first_line)"
    running = Running(["bash", "-c", tune], place.folder, place.env)
    lost = place.run(NAME).folder / "display_lost.txt"
    running.wait_until(lambda: lost.exists(), "the display was lost")
    rows = place.run(NAME).trial().num_rows()
    running.wait_until(lambda: place.run(NAME).trial().num_rows() > rows + 2, "it went on")
    os.killpg(running.process.pid, signal.SIGHUP)
    return running.wait()


@pytest.fixture(scope="module")
def run(hung_up: Outcome, place: Workplace) -> Run:
    return place.run(NAME)


def test_a_lost_display_is_noted_in_the_run_folder(hung_up, run):
    note = (run.folder / "display_lost.txt").read_text()
    assert note == "stderr: [Errno 32] Broken pipe. Training continues unseen.\n"


def test_a_hang_up_saves_the_run_as_sigterm_does(hung_up, run):
    hung_up.check(75)
    assert run.summary["status"] == "interrupted"
    assert run.trial().iterations()[-1] == run.trial().num_rows()


def test_a_hang_up_leaves_nothing_behind(hung_up, place):
    assert not place.wait_for_quiet()
    assert not place.cluster_folders()
