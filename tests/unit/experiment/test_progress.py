"""What people see while an experiment runs."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from empo_rllib.experiment import progress
from empo_rllib.experiment.cluster import Cluster
from empo_rllib.experiment.progress import (
    DISPLAY_FILE,
    Display,
    describe_start,
    duration,
    progress_cells,
    progress_line,
    time_left,
)

ROW = {
    "env_steps": 50_000,
    "episodes": 400,
    "time_s": 25.0,
    "env_steps_per_s": 2345.6,
    "episode_return_mean": 0.81234,
    "policy_return_mean/agent_0": 0.5,
    "policy_return_mean/agent_1": 0.3123,
}
CLUSTER = Cluster("this machine", {"CPU": 2.0}, 1, "http://127.0.0.1:8265", Path("/tmp/empo-x"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.0, "0s"),
        (0.4, "0s"),
        (45.0, "45s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (185.0, "3m05s"),
        (3599.6, "1h00m"),
        (7800.0, "2h10m"),
        (360_000.0, "100h00m"),
    ],
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("stop", "seconds"),
    [
        ({"env_steps": 200_000}, 75.0),
        ({"env_steps": 200_000, "time_s": 60.0}, 35.0),
        ({"env_steps": 200_000, "episodes": 800}, 25.0),
        ({"env_steps": 40_000}, 0.0),
        ({"env_steps": None, "episode_return_mean": 0.9}, None),
    ],
)
def test_the_time_left_is_that_until_the_nearest_limit(experiment, stop, seconds):
    assert time_left(experiment(stop=stop), ROW) == (seconds and pytest.approx(seconds))


def test_the_time_left_is_unknown_before_the_first_step(experiment):
    row = {"env_steps": 0, "episodes": 0, "time_s": 0.0}
    assert time_left(experiment(stop={"env_steps": 100}), row) is None


def test_the_cells_of_a_running_trial(experiment, trial):
    assert progress_cells(experiment(), trial(status="running"), ROW) == [
        "50,000 of 200,000",
        "2,346",
        "0.812",
        "agent_0 0.500  agent_1 0.312",
        "1m15s",
    ]


def test_a_trial_that_is_over_has_no_time_left(experiment, trial):
    assert progress_cells(experiment(), trial(status="finished"), ROW)[-1] == ""


def test_the_cells_are_empty_before_the_first_result(experiment, trial):
    assert progress_cells(experiment(), trial(), {}) == [""] * 5


def test_before_the_first_episode_there_is_no_return(experiment, trial):
    row = {key: ROW[key] for key in ("env_steps", "episodes", "time_s", "env_steps_per_s")}
    cells = progress_cells(experiment(stop={"env_steps": None, "time_s": 50.0}), trial(), row)
    assert cells[:4] == ["50,000", "2,346", "-", ""]


def test_many_policies_are_cut_short(experiment, trial):
    row = {**ROW, **{f"policy_return_mean/agent_{i}": 0.0 for i in range(9)}}
    cell = progress_cells(experiment(), trial(), row)[3]
    assert cell.count("agent_") == 4
    assert cell.endswith(" ..")


def test_a_line_for_a_log_says_the_same(experiment, trial):
    assert progress_line(experiment(), trial(status="running"), ROW) == (
        "trial_00000  env steps 50,000 of 200,000  2,346/s  return 0.812  "
        "(agent_0 0.500  agent_1 0.312)  left 1m15s"
    )


def test_the_start_says_what_runs_where_and_on_what(experiment, result, trial):
    lines = describe_start(experiment(), result(trial(0), trial(1)), CLUSTER, 0.0)
    text = "\n".join(lines)
    assert "PPO on MultiGrid-Empty-5x5-v0, 2 trials" in text
    assert "results in " in text
    assert "sampler: rllib" in text
    assert "CPU, no GPU found" in text
    assert "http://127.0.0.1:8265" in text
    assert "/tmp/empo-x/token" in text


@pytest.mark.parametrize(
    ("asked", "gpus", "expected"),
    [("auto", 1.0, "1 GPU per learner"), ("auto", 0.0, "CPU, no GPU found"), (1, 1.0, None)],
)
def test_the_start_says_which_device_auto_chose(experiment, result, trial, asked, gpus, expected):
    config = experiment(resources={"num_gpus_per_learner": asked})
    lines = [
        line
        for line in describe_start(config, result(trial(0)), CLUSTER, gpus)
        if line.startswith("learner:")
    ]
    assert len(lines) == (expected is not None)
    assert all(expected in line for line in lines)


# The display


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when the test says so."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def display(capsys, experiment, result, trial, clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    return Display(experiment(), result(trial(0, status="running"), trial(1)))


def test_without_a_terminal_a_trial_has_a_line_every_few_seconds(display, clock, capsys):
    display.start(CLUSTER, 0.0)
    capsys.readouterr()
    display.update("trial_00000", ROW)
    display.refresh()
    assert capsys.readouterr().err == ""
    clock.now += 6
    display.refresh()
    display.refresh()
    assert capsys.readouterr().err.count("trial_00000") == 1


def test_a_trial_without_news_has_no_second_line(display, clock, capsys):
    display.update("trial_00000", ROW)
    for _ in range(3):
        clock.now += 6
        display.refresh()
    assert capsys.readouterr().err.count("trial_00000") == 1
    display.update("trial_00000", {**ROW, "env_steps": 54_000})
    clock.now += 6
    display.refresh()
    assert "54,000" in capsys.readouterr().err


def test_a_folder_with_brackets_is_shown_as_it_is(experiment, result, trial, clock, capsys):
    display = Display(experiment(), result(trial(0), folder="/data/[old]/[/x]/run"))
    display.start(CLUSTER, 0.0)
    assert "results in /data/[old]/[/x]/run\n" in capsys.readouterr().err


def test_nothing_is_printed_to_stdout(display, clock, capsys):
    display.start(CLUSTER, 0.0)
    display.notice("W&B: [x] logs :sleepy: offline")
    display.stop()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "W&B: [x] logs :sleepy: offline\n" in captured.err


def rendered(display):
    console = Console(width=200, file=io.StringIO())
    console.print(display._table())
    return console.file.getvalue()


def test_on_a_terminal_there_is_a_table_of_all_trials(display):
    display.update("trial_00000", {**ROW, "policy_return_mean/walker[2]": 0.25})
    text = rendered(display)
    for part in ("trial_00000", "running", "50,000 of 200,000", "0.812", "1m15s", "trial_00001"):
        assert part in text
    assert "walker[2] 0.250" in text


def test_a_table_of_many_trials_shows_the_running_ones_first(experiment, result, trial):
    trials = [trial(i) for i in range(30)]
    trials[29].status = "running"
    lines = rendered(Display(experiment(), result(*trials))).splitlines()
    assert lines[1].startswith("trial_00029")
    assert lines[-1].startswith("and 10 more")
    assert len(lines) == 22


def test_a_display_that_is_lost_is_noted_in_the_run_folder_and_ends_nothing(
    experiment, result, trial, clock, monkeypatch, tmp_path
):
    with Path("/dev/full").open("w", buffering=1) as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        display = Display(experiment(), result(trial(0)))
        display.start(CLUSTER, 0.0)
        display.notice("this is lost")
        display.refresh()
        display.stop()
        note = (tmp_path / DISPLAY_FILE).read_text()
        assert note == "stderr: [Errno 28] No space left on device. Training continues unseen.\n"
        with contextlib.suppress(OSError):
            stderr.close()
