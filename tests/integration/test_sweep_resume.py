"""A sweep that was interrupted goes on as a whole: ASHA still knows the trials that are over.

The first trial finishes, the signal comes in the first iteration of the second one, and the third
one starts only after the resume. Both have to be compared with the first, which is over by then;
between the two of them the third would go on.
"""

from __future__ import annotations

import signal

import pytest
from commands import Outcome, Run, Workplace
from ray_head import Head

# `hang` is a file: while it exists, trials with long episodes do not step and leave word of it.
ENV = """
import time
from pathlib import Path

from empo_rllib import make_env


def hanging(hang, max_steps, num_agents=2):
    env = make_env("MultiGrid-Empty-5x5-v0", num_agents, max_steps=max_steps)
    step = env.step

    def wait_and_step(actions):
        while max_steps > 4 and Path(hang).exists():
            Path(hang + "ing").touch()
            time.sleep(0.05)
        return step(actions)

    env.step = wait_and_step
    return env
"""
# Whoever may walk for longer does. Each iteration has 20 env steps of 5 environments: every one
# ends an episode in the first iteration, which is ASHA's first rung.
SHORT, LONG, MIDDLE = 4, 19, 10
STOP = 600
CONFIG = {
    "name": "sweep",
    # ASHA waits for full windows of episodes: each env ends one in the first iteration.
    "algorithm": {"params": {"metrics_num_episodes_for_smoothing": 5}},
    "stop": {"env_steps": STOP},
    "tune": {
        "max_concurrent": 1,
        "metric": "episode_length_mean",
        "mode": "min",
        "scheduler": {"asha": {"grace_period": 100, "reduction_factor": 4}},
    },
    "checkpoint": {"frequency": 1000, "grace_s": 120},
}


@pytest.fixture(scope="module")
def experiment(place: Workplace) -> str:
    place.write("hanging_env.py", ENV)
    lengths = {"grid_search": [SHORT, LONG, MIDDLE]}
    kwargs = {"hang": str(place.folder / "hang"), "max_steps": lengths}
    env = {"id": "hanging_env:hanging", "num_agents": 2, "kwargs": kwargs}
    return str(place.write_experiment(**CONFIG, env=env))


@pytest.fixture(scope="module")
def interrupted(place: Workplace, cluster: Head, experiment: str) -> Outcome:
    hang, hanging = place.folder / "hang", place.folder / "hanging"
    hang.touch()  # for all but the first trial
    running = cluster.start(place, "--config", experiment)
    running.wait_until(hanging.exists, "the second trial's first iteration")
    running.process.send_signal(signal.SIGTERM)
    running.wait_until(lambda: "SIGTERM: saving" in running.stderr, "it has seen the signal")
    hang.unlink()
    return running.wait().check(75)


@pytest.fixture(scope="module")
def statuses_before(interrupted: Outcome, place: Workplace) -> list[tuple[str, int]]:
    return statuses(place.run("sweep"))


@pytest.fixture(scope="module")
def resumed(statuses_before: list, place: Workplace, cluster: Head, experiment: str) -> Run:
    cluster.tune(place, "--config", experiment, "--resume").check()
    return place.run("sweep")


def statuses(run: Run) -> list[tuple[str, int]]:
    """Returns what became of each trial and how many iterations it trained."""
    return [
        (entry["status"], run.trial(number).num_rows())
        for number, entry in enumerate(run.summary["trials"])
    ]


def test_the_signal_came_when_only_the_first_trial_had_passed_a_rung(statuses_before):
    assert statuses_before == [("finished", 6), ("interrupted", 1), ("pending", 0)]


def test_a_trial_that_starts_after_the_resume_is_compared_with_those_before(resumed):
    assert statuses(resumed)[2] == ("stopped", 1)


def test_a_trial_is_judged_by_the_row_with_which_it_was_interrupted(resumed):
    assert statuses(resumed)[1] == ("stopped", 1)
    assert resumed.summary["trials"][1]["env_steps"] == resumed.trial(1).counters()["env_steps"]


def test_the_sweep_is_finished(resumed):
    assert resumed.summary["status"] == "finished"
    assert resumed.summary["best_trial"] == "trial_00000"
