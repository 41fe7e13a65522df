"""What people see while an experiment runs."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from empo_rllib.experiment import progress
from empo_rllib.experiment.cluster import Cluster
from empo_rllib.experiment.progress import (
    DISPLAY_FILE,
    Display,
    change_line,
    describe_cluster,
    describe_experiment,
    describe_learner,
    networks_lines,
    progress_cells,
    progress_line,
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


def test_a_trial_that_may_end_earlier_says_at_most(experiment, trial):
    config = experiment(stop={"env_steps": 200_000, "episode_return_mean": 0.9})
    assert progress_cells(config, trial(status="running"), ROW)[-1] == "at most 1m15s"


def test_a_line_for_a_log_says_the_same(experiment, trial):
    assert progress_line(experiment(), trial(status="running"), ROW) == (
        "trial_00000  env steps 50,000 of 200,000  2,346/s  return 0.812  "
        "(agent_0 0.500  agent_1 0.312)  left 1m15s"
    )


def test_the_headline_says_what_runs_and_where_results_will_be(experiment):
    config = experiment(seed={"grid_search": [1, 2]})
    assert describe_experiment(config) == (
        "run: PPO on MultiGrid-Empty-5x5-v0, 2 trials, results in results/run"
    )


def test_the_headline_names_all_algorithms(experiment):
    config = experiment(algorithm={"name": {"grid_search": ["PPO", "DQN"]}})
    assert describe_experiment(config).startswith("run: PPO, DQN on MultiGrid-Empty-5x5-v0, 2 tri")


@pytest.mark.parametrize(
    ("asked", "taken", "gpus", "expected"),
    [
        ("auto", 1.0, 1, ["learner: 1 GPU per learner (num_gpus_per_learner: auto)"]),
        ("auto", 0.0, 0, ["learner: CPU, no GPU found (num_gpus_per_learner: auto)"]),
        (
            "auto",
            0.0,
            1,
            [
                "learner: CPU, expected to be faster than a GPU for networks of this size "
                "(num_gpus_per_learner: auto)"
            ],
        ),
        (1, 1.0, 1, []),
    ],
)
def test_the_start_says_which_device_auto_chose(experiment, asked, taken, gpus, expected):
    config = experiment(resources={"num_gpus_per_learner": asked})
    assert describe_learner(config, taken, gpus) == expected


def test_the_start_says_where_networks_are_trained():
    assert networks_lines({"a": "compiled kernels", "b": "compiled kernels"}) == [
        "networks: compiled kernels"
    ]
    mixed = {"a": "torch (use_critic is off)", **dict.fromkeys("bcde", "compiled kernels")}
    assert networks_lines(mixed) == [
        "networks of a: torch (use_critic is off)",
        "networks of 4 policies: compiled kernels",
    ]


def test_the_start_says_where_the_dashboard_is():
    (line,) = describe_cluster(CLUSTER)
    assert line == "Ray dashboard: http://127.0.0.1:8265 (token: /tmp/empo-x/token)"
    assert describe_cluster(replace(CLUSTER, dashboard_url=None)) == []


def test_the_lines_of_a_sweep_say_what_varies_and_what_is_left(experiment, result, trial):
    trials = [
        trial(0, status="finished", env_steps=200_000, time_s=100.0, episode_return_mean=0.5),
        trial(1, status="running", env_steps=50_000, time_s=25.0),
        trial(2),
    ]
    config = experiment(stop={"env_steps": 200_000})
    assert [
        change_line(config, result(*trials), one, {"seed": str(one.seed)}) for one in trials[:2]
    ] == [
        "trial_00000  finished  seed 0  return 0.500  "
        "(1 running, 1 finished, 1 to go, about 3 min)",
        "trial_00001  running  seed 1  (1 running, 1 finished, 1 to go, about 3 min)",
    ]


# The display


class Terminal(io.StringIO):
    """A terminal of 80 columns that keeps what it is sent."""

    def isatty(self):
        return True


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
def run(result, trial):
    """A run whose first of two trials runs."""
    return result(trial(0, status="running"), trial(1))


@pytest.fixture
def display(experiment, run, clock, capsys):
    """A display without a terminal, to which trials have been shown."""
    with Display(experiment()) as display:
        display.follow(run)
        capsys.readouterr()
        yield display


def open_terminal(monkeypatch):
    """Makes stderr a terminal; not in a fixture, after which pytest puts its own stderr back."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    return terminal


def test_without_a_terminal_a_trial_has_a_line_every_few_seconds(display, clock, capsys):
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


def test_without_a_terminal_trials_of_a_sweep_are_told_when_they_start_and_end(
    display, run, clock, capsys
):
    display.update("trial_00000", ROW)
    run.trials[0].status, run.trials[1].status = "finished", "running"
    for _ in range(3):
        clock.now += 6
        display.refresh()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["trial_00000", "finished"],
        ["trial_00001", "running"],
    ]


def test_without_a_terminal_there_is_a_sign_of_life_until_the_first_row(display, clock, capsys):
    display.refresh()
    assert capsys.readouterr().err == ""
    clock.now += 65
    display.refresh()
    display.refresh()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("building the first trials")
    assert line.endswith("(1m05s)")


def test_without_a_terminal_nothing_is_drawn_over(experiment, run, clock, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Display(experiment()) as display:
        display.doing("starting Ray")
        display.follow(run)
    told = capsys.readouterr().err
    assert told == "run: PPO on MultiGrid-Empty-5x5-v0, 1 trial, results in results/run\n"


def test_a_folder_with_brackets_is_shown_as_it_is(experiment, clock, capsys):
    with Display(experiment(storage_path="/data/[old]/[/x]")):
        pass
    assert "results in /data/[old]/[/x]/run\n" in capsys.readouterr().err


def test_nothing_is_printed_to_stdout(display, clock, capsys):
    display.notice("W&B: [x] logs :sleepy: offline")
    display.stop()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "W&B: [x] logs :sleepy: offline\n" in captured.err


def test_a_terminal_shows_what_is_done_and_then_the_trials(experiment, run, monkeypatch):
    terminal = open_terminal(monkeypatch)
    with Display(experiment()) as display:
        display.doing("starting [Ray]")
        display._live.refresh()
        assert "starting [Ray] (0s)" in terminal.getvalue()
        display.follow(run)
        display.update("trial_00000", ROW)
    last = terminal.getvalue().rpartition("trial  ")[2]
    assert "trial_00000" in last
    assert "1 running, 1 to go" in last
    assert "building" not in last
    assert terminal.getvalue().endswith("\x1b[?25h")  # the cursor is there again


def test_a_mistake_leaves_only_the_headline_on_the_terminal(experiment, monkeypatch):
    terminal = open_terminal(monkeypatch)
    with Display(experiment()) as display:
        display.doing("planning")
    assert terminal.getvalue().endswith("\r\x1b[2K\x1b[?25h\r")  # the spinner is wiped out


def test_a_notebook_gets_lines_of_its_own_on_stdout(experiment, run, clock, capsys, monkeypatch):
    shell = type("ZMQInteractiveShell", (), {})()
    ipython = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setattr("builtins.get_ipython", lambda: shell, raising=False)
    with Display(experiment()) as display:
        display.follow(run)
        display.update("trial_00000", ROW)
        clock.now += 6
        display.refresh()
    captured = capsys.readouterr()
    assert captured.err == ""
    assert [line.split()[0] for line in captured.out.splitlines()] == ["run:", "trial_00000"]


def test_a_display_that_is_lost_is_noted_in_the_run_folder_and_ends_nothing(
    experiment, run, clock, monkeypatch, tmp_path
):
    with Path("/dev/full").open("w", buffering=1) as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        with Display(experiment()) as display:
            display.follow(run)
            display.notice("this is lost")
            display.refresh()
        note = (tmp_path / DISPLAY_FILE).read_text()
        assert note == "stderr: [Errno 28] No space left on device. Training continues unseen.\n"
        with contextlib.suppress(OSError):
            stderr.close()


def test_a_terminal_that_is_lost_while_it_is_drawn_on_ends_nothing(
    experiment, run, monkeypatch, tmp_path
):
    terminal = open_terminal(monkeypatch)
    with Display(experiment()) as display:
        display.follow(run)
        terminal.close()
        display._live.refresh()
        display.notice("this is lost")
        display.refresh()
    assert "Training continues unseen" in (tmp_path / DISPLAY_FILE).read_text()
