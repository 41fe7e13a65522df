"""What the driver makes of reports about environments that do not return."""

from __future__ import annotations

import pytest

from empo_rllib.experiment import slow_calls
from empo_rllib.experiment.share import Share
from empo_rllib.experiment.slow_calls import SLOW_CALLS_FILE, SlowCalls

TEXT = "step() has not returned for 60 s (process 7 on node)"


@pytest.fixture
def run(result, trial, monkeypatch):
    """Two running trials and one that waits."""
    monkeypatch.setattr(slow_calls, "_LOOK_EVERY_S", 0.0)
    statuses = ("running", "running", "pending")
    return result(*(trial(n, status=s, env_steps=100) for n, s in enumerate(statuses)))


@pytest.fixture
def notices():
    return []


@pytest.fixture
def calls(run, notices):
    return SlowCalls("walk", Share(run), notices.append)


@pytest.fixture
def report(tmp_path):
    """Writes what a process of a trial reports."""

    def write(number, text=TEXT):
        path = tmp_path / f"trial_{number:05d}" / "slow_env_call_node_7.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{text}\n")
        return path

    return write


def test_each_report_is_shown_and_logged_once(calls, report, notices, tmp_path):
    calls.look()
    assert notices == []
    report(1)
    calls.look()
    calls.look()
    line = f"trial_00001: walk: {TEXT}. Ctrl-C ends the run with what was saved."
    assert notices == [line]
    report(1, TEXT.replace("60", "120"))
    calls.look()
    assert len(notices) == 2
    logged = (tmp_path / SLOW_CALLS_FILE).read_text().splitlines()
    assert [entry[20:] for entry in logged] == notices


def test_a_run_is_blocked_when_every_running_trial_waits(calls, report, run):
    assert not calls.block_all()
    report(0)
    calls.look()
    assert not calls.block_all()
    report(1)
    calls.look()
    assert calls.block_all()
    run.trials[1].status = "finished"
    assert calls.block_all()
    run.trials[0].status = "finished"
    assert not calls.block_all()


def test_a_trial_that_samples_again_is_not_blocked(calls, report, run):
    reports = [report(number) for number in (0, 1)]
    calls.look()
    run.trials[0].env_steps += 1  # by another env runner
    assert not calls.block_all()
    run.trials[0].env_steps -= 1
    assert calls.block_all()
    reports[0].unlink()
    calls.look()
    assert not calls.block_all()
