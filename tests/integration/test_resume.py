"""A run that was killed goes on as if nothing had happened, and a finished one can be extended."""

from __future__ import annotations

import json
import signal

import pytest
from commands import Outcome, Run, Workplace, snapshot
from ray_head import Head

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("smoke")]  # which compiles the kernels

FREQUENCY = 4
# Long enough for the kill to come before the end: 200 iterations of a few milliseconds.
BUDGET = 20_000
# Stands for the installed package; libraries do call sys.exit.
BROKEN_WANDB = """
import sys


def Settings(**settings):
    return settings


def init(**arguments):
    return Run()


class Run:
    def log(self, row, step=None):
        sys.exit("no space left for wandb")

    def finish(self, **arguments):
        raise RuntimeError("wandb was never well")
"""
WANDB = "logging.wandb={project: killed, mode: offline}"
CONFIG = {"name": "killed", "stop": {"env_steps": BUDGET}, "checkpoint": {"frequency": FREQUENCY}}


@pytest.fixture(scope="module")
def experiment(place: Workplace) -> str:
    return str(place.write_experiment(**CONFIG))


@pytest.fixture(scope="module")
def rows_before_the_kill(place: Workplace, experiment: str) -> list[dict[str, str]]:
    """Kills a run in its third checkpoint interval and returns the rows it had written."""
    running = place.start("--config", experiment, "--set", WANDB)
    trial = place.run("killed").trial()
    running.wait_until(lambda: trial.num_rows() > 2 * FREQUENCY, "its third checkpoint interval")
    running.process.send_signal(signal.SIGKILL)
    assert running.wait().code == -signal.SIGKILL
    assert not place.wait_for_quiet()
    rows = trial.rows()
    assert int(rows[-1]["env_steps"]) < BUDGET
    assert trial.iterations()
    return rows


@pytest.fixture(scope="module")
def resumed(place: Workplace, cluster: Head, experiment: str, rows_before_the_kill: list) -> Run:
    """The same run after `--resume` has finished it."""
    cluster.tune(place, "--config", experiment, "--resume").check()
    return place.run("killed")


@pytest.fixture(scope="module")
def extension(place: Workplace, cluster: Head, experiment: str, resumed: Run) -> Outcome:
    """The outcome of `--resume` with a larger limit and with a W&B that is broken."""
    place.write("wandb.py", BROKEN_WANDB)
    more = f"stop.env_steps={BUDGET + 500}"
    wandb = "logging.wandb={project: broken, mode: offline}"
    arguments = ("--config", experiment, "--resume", "--set", more, "--set", wandb)
    return cluster.start(place, *arguments).wait().check()


def test_a_killed_run_leaves_no_temporary_file(rows_before_the_kill, place):
    # Its fixture has seen that no process is left either. W&B was one of them, with files.
    assert list(place.run("killed").trial().folder.glob("wandb/offline-run-*"))
    assert [path for path in place.temp.iterdir() if not path.name.startswith("log-")] == []


def test_at_most_one_checkpoint_interval_is_lost(rows_before_the_kill, resumed):
    # What was restored stayed as it was; what came after the checkpoint was trained again.
    kept = [
        before == after
        for before, after in zip(rows_before_the_kill, resumed.trial().rows(), strict=False)
    ]
    num_kept = kept.index(False) if False in kept else len(kept)
    assert not any(kept[num_kept:])
    assert num_kept % FREQUENCY == 0
    assert len(rows_before_the_kill) - num_kept <= FREQUENCY


def test_a_killed_run_ends_with_the_same_budget(resumed):
    env_steps = resumed.trial().column("env_steps")
    assert env_steps[-2] < BUDGET <= env_steps[-1]
    (trial,) = resumed.summary["trials"]
    assert (trial["status"], trial["env_steps"]) == ("finished", env_steps[-1])


def test_no_counter_goes_back(resumed):
    trial = resumed.trial()
    iterations = trial.column("training_iteration")
    assert iterations == list(range(1, len(iterations) + 1))
    for counter in ("env_steps", "agent_steps", "episodes", "time_s", "timestamp"):
        values = trial.column(counter)
        assert values == sorted(values), counter
        assert counter == "episodes" or len(set(values)) == len(values), counter


def test_tensorboard_has_one_curve_without_repeated_steps(resumed):
    trial = resumed.trial()
    assert len(list(trial.folder.glob("events.out.tfevents.*"))) == 1
    for tag in ("episode_return_mean", "time_s", "learner/agent_0/total_loss"):
        assert [step for step, _ in trial.scalars()[tag]] == trial.column("env_steps")


def test_the_episodes_of_a_resumed_run_go_on_counting(resumed):
    # Episodes have at most 20 steps here.
    assert resumed.trial().counters()["episodes"] >= BUDGET / 20


def test_every_session_is_in_the_provenance(resumed):
    sessions = json.loads((resumed.folder / "provenance.json").read_text())["sessions"]
    assert ["--resume" in session["command"] for session in sessions] == [False, True]


def test_resuming_a_finished_run_does_nothing(resumed, place, experiment):
    trial = resumed.trial()
    before, summary = snapshot(trial.folder), resumed.summary
    outcome = place.type("--config", experiment, "--resume", module="empo_rllib.tune").check()
    assert "status       finished" in outcome.stdout
    assert snapshot(trial.folder) == before
    assert resumed.summary == summary


def test_a_finished_run_can_be_extended(extension, resumed):
    env_steps = resumed.trial().column("env_steps")
    assert BUDGET + 500 <= env_steps[-1] < BUDGET + 500 + 200
    iterations = resumed.trial().column("training_iteration")
    assert iterations == list(range(1, len(iterations) + 1))
    assert resumed.summary["trials"][0]["env_steps"] == env_steps[-1]


def test_a_broken_wandb_is_told_once_and_training_goes_on(extension):
    told = "W&B: no space left for wandb. Training goes on without it; nothing more is logged."
    assert extension.stderr.splitlines().count(told) == 1
    assert extension.output.count("W&B") == 1
    assert "Traceback" not in extension.output
