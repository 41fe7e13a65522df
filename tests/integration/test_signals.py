"""Signals save every running trial first. One run with two trials goes through them all.

Its sessions: TERM, then USR1, then Ctrl-C while an environment hangs, then `--resume` to the end.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from commands import Outcome, Run, Running, Workplace
from ray_head import Head

# `hang` is a file: while it exists, no step returns.
ENV = """
import time
from pathlib import Path

from empo_rllib import make_env


def hanging(hang, num_agents=2):
    env = make_env("MultiGrid-Empty-5x5-v0", num_agents, max_steps=20)
    step = env.step

    def wait_and_step(actions):
        while Path(hang).exists():
            time.sleep(0.05)
        return step(actions)

    env.step = wait_and_step
    return env
"""
NAME = "signals"
# Far more than the sessions reach: only the last one, with a smaller limit, ends by itself.
CONFIG = {
    "name": NAME,
    "env": {"id": "hanging_env:hanging"},
    "algorithm": {"params": {"lr": {"grid_search": [1.0e-3, 1.0e-4]}}},
    "stop": {"env_steps": 1_000_000},
    "checkpoint": {"frequency": 1000, "grace_s": 120},
}


@dataclass(frozen=True)
class Session:
    """What one session of the run left behind."""

    outcome: Outcome
    iterations: list[int]
    checkpoints: list[int]
    statuses: list[str]
    processes: dict[int, str]
    num_cluster_folders: int


class Sessions:
    """Runs the experiment up to one signal after the other."""

    def __init__(self, place: Workplace) -> None:
        place.write("hanging_env.py", ENV)
        self.place = place
        self.hang = place.folder / "hang"
        env = {"kwargs": {"hang": str(self.hang), "max_steps": None}}
        self.config = place.write_experiment(**{**CONFIG, "env": {**CONFIG["env"], **env}})
        self.run = place.run(NAME)

    def interrupt(self, *args: str, by: Callable[[Running], None]) -> Session:
        """Starts a session and stops it when both trials have new rows."""
        seen = [self.run.trial(number).num_rows() for number in (0, 1)]
        running = self.place.start("--config", self.config, *args)
        running.wait_until(
            lambda: all(self.run.trial(n).num_rows() > seen[n] + 2 for n in (0, 1)),
            "both trials made rows",
        )
        by(running)
        return self.look(running.wait())

    def look(self, outcome: Outcome) -> Session:
        trials = [self.run.trial(number) for number in (0, 1)]
        return Session(
            outcome=outcome,
            iterations=[int(trial.column("training_iteration")[-1]) for trial in trials],
            checkpoints=[trial.iterations()[-1] if trial.iterations() else 0 for trial in trials],
            statuses=[trial["status"] for trial in self.run.summary["trials"]],
            processes=self.place.wait_for_quiet(),
            num_cluster_folders=len(self.place.cluster_folders()),
        )


@pytest.fixture(scope="module")
def sessions(place: Workplace) -> Sessions:
    return Sessions(place)


@pytest.fixture(scope="module")
def by_term(sessions: Sessions) -> Session:
    return sessions.interrupt(by=lambda running: running.process.send_signal(signal.SIGTERM))


@pytest.fixture(scope="module")
def by_usr1(sessions: Sessions, by_term: Session) -> Session:
    def send(running: Running) -> None:
        running.process.send_signal(signal.SIGUSR1)

    return sessions.interrupt("--resume", by=send)


@pytest.fixture(scope="module")
def by_ctrl_c(sessions: Sessions, by_usr1: Session) -> Session:
    return sessions.interrupt("--resume", by=Running.ctrl_c)


@pytest.fixture(scope="module")
def by_ctrl_c_twice(sessions: Sessions, by_ctrl_c: Session) -> Session:
    """The second Ctrl-C comes while the first one waits for an environment that hangs."""

    def twice(running: Running) -> None:
        sessions.hang.touch()
        running.ctrl_c()
        running.wait_until(lambda: "Ctrl-C again ends at once" in running.stderr, "it said so")
        running.ctrl_c()

    try:
        return sessions.interrupt("--resume", by=twice)
    finally:
        sessions.hang.unlink()


@pytest.fixture(scope="module")
def finished(sessions: Sessions, by_ctrl_c_twice: Session, cluster: Head) -> Run:
    steps = max(int(sessions.run.trial(n).counters()["env_steps"]) for n in (0, 1)) + 500
    place, config = sessions.place, sessions.config
    limit = f"stop.env_steps={steps}"
    cluster.tune(place, "--config", config, "--resume", "--set", limit).check()
    return sessions.run


SIGNALS = (pytest.param("by_term", marks=pytest.mark.core), "by_usr1", "by_ctrl_c")


@pytest.fixture(params=SIGNALS)
def session(request: pytest.FixtureRequest) -> Session:
    return request.getfixturevalue(request.param)


def test_a_signal_ends_the_run_with_exit_code_75(session):
    assert session.outcome.code == 75, session.outcome.output
    assert "status       interrupted" in session.outcome.stdout
    assert "Traceback" not in session.outcome.output


def test_a_signal_saves_every_running_trial_after_its_last_row(session):
    assert session.checkpoints == session.iterations
    assert session.statuses == ["interrupted", "interrupted"]


def test_the_output_says_how_to_go_on(session, sessions):
    command = f"python -m empo_rllib.tune --config {sessions.config}"
    assert f"\n  {command} " in session.outcome.stdout
    (line,) = [line for line in session.outcome.stdout.splitlines() if command in line]
    assert "--resume" in line


def test_a_signal_leaves_no_process_and_no_cluster_folder(session):
    assert not session.processes
    assert session.num_cluster_folders == 0


def test_trials_run_in_parallel(by_term):
    # Neither had come to its end when the signal found both with rows.
    assert min(by_term.iterations) > 2
    assert by_term.statuses == ["interrupted", "interrupted"]


def test_the_output_names_the_signal(by_term, by_usr1, by_ctrl_c):
    for session, name in ((by_term, "SIGTERM"), (by_usr1, "SIGUSR1"), (by_ctrl_c, "SIGINT")):
        assert session.outcome.stderr.count(f"{name}: saving every running trial") == 1


def test_ctrl_c_twice_ends_at_once(by_ctrl_c_twice):
    assert by_ctrl_c_twice.outcome.code == 130
    assert "Traceback" not in by_ctrl_c_twice.outcome.output
    assert not by_ctrl_c_twice.processes


def test_what_was_saved_before_survives_ctrl_c_twice(by_ctrl_c, by_ctrl_c_twice):
    pairs = zip(by_ctrl_c.checkpoints, by_ctrl_c_twice.checkpoints, strict=True)
    assert all(later >= earlier for earlier, later in pairs)


def test_all_sessions_make_one_curve(finished):
    for trial in finished.trials:
        iterations = trial.column("training_iteration")
        assert iterations == list(range(1, len(iterations) + 1))
        env_steps = trial.column("env_steps")
        assert env_steps == sorted(set(env_steps))
        assert [step for step, _ in trial.scalars()["time_s"]] == env_steps


def test_the_interrupted_run_finishes(finished):
    assert finished.summary["status"] == "finished"
    assert [trial["status"] for trial in finished.summary["trials"]] == ["finished", "finished"]
