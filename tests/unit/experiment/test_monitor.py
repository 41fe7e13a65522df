"""The driver's account of the trials."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from empo_rllib.experiment import interrupt
from empo_rllib.experiment.monitor import Monitor
from empo_rllib.experiment.share import Share
from empo_rllib.experiment.summary import ExperimentResult, read_summary
from empo_rllib.experiment.trial import ERROR_FILE, TrialTask

RESULT = {
    "env_steps": 5000.0,
    "agent_steps": 10_000.0,
    "episodes": 50.0,
    "time_s": 10.0,
    "episode_return_mean": 0.5,
    "success_rate": 0.75,
    "stop_reason": "",
    "env_runner_hosts": ["node-1"],
    "ignored_metrics": [],
}


class FakeDisplay:
    def __init__(self):
        self.rows, self.notices = {}, []

    def update(self, trial_id, row):
        self.rows[trial_id] = row

    def notice(self, text):
        self.notices.append(text)


@pytest.fixture
def display():
    return FakeDisplay()


@pytest.fixture
def interruption():
    return interrupt.reset()


@pytest.fixture
def run(experiment, result, trial, display, interruption, tmp_path):
    """A monitor of two trials in the temporary folder, and their summary."""
    config = experiment(tune={"metric": "success_rate"})
    summary = result(trial(0), trial(1), metric="success_rate")
    return Monitor(config, Share(summary), display), summary


def tune_trial(number=0, num_failures=0):
    task = TrialTask(f"trial_{number:05d}", Path("/runs"), None, 0.0)
    return SimpleNamespace(config={"task": task}, num_failures=num_failures, get_error=lambda: None)


def play(monitor, number=0, **changes):
    monitor.on_trial_start(0, [], tune_trial(number))
    monitor.on_trial_result(0, [], tune_trial(number), {**RESULT, **changes})


def test_a_result_brings_the_summary_up_to_date(run, display):
    monitor, summary = run
    play(monitor, number=1)
    entry = summary.trials[1]
    assert (entry.status, entry.env_steps, entry.agent_steps) == ("running", 5000, 10_000)
    assert (entry.episodes, entry.time_s, entry.env_steps_per_s) == (50, 10.0, 500.0)
    assert entry.env_runner_hosts == ["node-1"]
    assert (entry.episode_return_mean, entry.metric) == (0.5, 0.75)
    assert summary.trials[0].status == "pending"
    assert display.rows["trial_00001"]["env_steps"] == 5000.0


def test_the_summary_says_whether_a_mean_is_over_a_full_window(run):
    monitor, summary = run
    play(monitor, window_is_full=0)
    assert not summary.trials[0].is_settled
    play(monitor, window_is_full=1)
    assert summary.trials[0].is_settled


def test_an_iteration_without_episode_keeps_the_last_return(run):
    monitor, summary = run
    play(monitor)
    row = {k: v for k, v in RESULT.items() if k not in ("episode_return_mean", "success_rate")}
    monitor.on_trial_result(0, [], tune_trial(), {**row, "env_steps": 6000.0})
    entry = summary.trials[0]
    assert (entry.env_steps, entry.episode_return_mean, entry.metric) == (6000, 0.5, 0.75)


@pytest.mark.parametrize(
    ("stop_reason", "interrupted", "status", "why"),
    [
        ("env_steps 5,000 >= 5,000", False, "finished", "env_steps 5,000 >= 5,000"),
        ("env_steps 5,000 >= 5,000", True, "finished", "env_steps 5,000 >= 5,000"),
        ("", True, "interrupted", ""),
        ("", False, "stopped", "stopped by ASHA at 5,000 env steps"),
    ],
)
def test_a_completed_trial_was_finished_interrupted_or_stopped_early(
    run, interruption, stop_reason, interrupted, status, why
):
    monitor, summary = run
    play(monitor, stop_reason=stop_reason)
    assert interrupt.running_trials == {"trial_00000"}
    if interrupted:
        interruption.asked.set()
    monitor.on_trial_complete(0, [], tune_trial())
    assert (summary.trials[0].status, summary.trials[0].stop_reason) == (status, why)
    assert interrupt.running_trials == set()


def test_warnings_of_environments_are_shown_once(run, display, tmp_path):
    monitor, _ = run
    for number in (0, 1):
        for process in (7, 8):
            path = tmp_path / f"trial_{number:05d}" / f"env_warnings_node_{process}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text("agent_0 sees the same.\n" + "Layouts differ.\n" * (process == 8))
        play(monitor, number)
    play(monitor)
    assert display.notices == ["warning: agent_0 sees the same.", "warning: Layouts differ."]


def test_a_failure_that_is_tried_again_is_one_line(run, display, tmp_path):
    monitor, summary = run
    play(monitor)
    (tmp_path / "trial_00000").mkdir()
    (tmp_path / "trial_00000" / ERROR_FILE).write_text("Traceback\nRuntimeError: wet floor\n")
    monitor.on_trial_recover(0, [], tune_trial(num_failures=1))
    (notice,) = display.notices
    assert "trial_00000 failed (RuntimeError: wet floor)" in notice
    assert "attempt 2 of 3" in notice
    assert summary.trials[0].error is None


def test_a_failed_trial_keeps_the_whole_error(run, tmp_path):
    monitor, summary = run
    play(monitor)
    (tmp_path / "trial_00000").mkdir()
    (tmp_path / "trial_00000" / ERROR_FILE).write_text("Traceback\nRuntimeError: wet floor\n")
    monitor.on_trial_error(0, [], tune_trial())
    assert summary.trials[0].status == "failed"
    assert summary.trials[0].error == "Traceback\nRuntimeError: wet floor\n"


def test_a_process_that_just_died_is_a_failure_too(run):
    monitor, summary = run
    play(monitor)
    monitor.on_trial_error(0, [], tune_trial())
    assert summary.trials[0].error == "its process died"


@pytest.mark.parametrize(
    ("statuses", "interrupted", "final"),
    [
        (["finished", "stopped"], False, "finished"),
        (["finished", "failed"], False, "failed"),
        (["finished", "running"], False, "failed"),
        (["finished", "running"], True, "interrupted"),
        (["finished", "pending"], True, "interrupted"),
        (["failed", "interrupted"], True, "interrupted"),
        (["failed", "finished"], True, "failed"),
        (["finished", "finished"], True, "finished"),
    ],
)
def test_the_run_ends_as_its_trials_did(run, tmp_path, statuses, interrupted, final):
    monitor, summary = run
    for entry, status in zip(summary.trials, statuses, strict=True):
        entry.status = status
    monitor.finish(interrupted)
    assert summary.status == final
    assert read_summary(tmp_path) == summary


def test_the_summary_names_the_newest_and_the_best_checkpoint(
    run, tmp_path, write_checkpoint_folder
):
    monitor, summary = run
    for iteration, score in ((8, 0.96), (9, 0.5), (10, 0.84)):
        write_checkpoint_folder(tmp_path / "trial_00000", iteration, score=score)
    play(monitor)
    monitor.finish(interrupted=False)
    assert summary.trials[0].checkpoint == "trial_00000/checkpoint_000010"
    assert summary.trials[0].best_checkpoint == "trial_00000/checkpoint_000008"
    assert summary.trials[0].best_score == 0.96
    assert summary.best_trial == "trial_00000"


def test_a_summary_that_cannot_be_written_is_told_and_the_trials_go_on(run, display, monkeypatch):
    monitor, summary = run

    def no_space(self):
        raise OSError("No space left on device")

    monkeypatch.setattr(ExperimentResult, "write", no_space)
    play(monitor)
    assert summary.trials[0].env_steps == 5000
    assert "No space left on device" in display.notices[0]


def test_metrics_that_are_no_numbers_are_reported_once_for_all_trials(run, display):
    monitor, _ = run
    for number, ignored in ((0, ["custom/a"]), (0, ["custom/a", "custom/b"]), (1, ["custom/a"])):
        play(monitor, number, ignored_metrics=ignored)
    assert display.notices == [
        "not recorded, because it is not a number: custom/a",
        "not recorded, because it is not a number: custom/b",
    ]
