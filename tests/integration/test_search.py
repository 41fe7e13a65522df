"""A search by Optuna with ASHA goes through a kill and a signal as if there had been neither.

Nobody crosses the room in so few steps: an episode's length is its limit, which is searched. So all
results, and with one trial at a time all choices, are known for certain.
"""

from __future__ import annotations

import signal

import pytest
from commands import Outcome, Run, Workplace, snapshot
from decisions import decisions, study_of
from ray_head import Head

LENGTH = "env.kwargs.max_steps"
NUM_TRIALS = 6
CONFIG = {
    "seed": 3,
    "env": {
        "id": "MultiGrid-Empty-16x16-v0",
        "num_agents": 2,
        "kwargs": {"max_steps": {"randint": [4, 25]}},
    },
    "algorithm": {
        "params": {"metrics_num_episodes_for_smoothing": 5, "lr": {"loguniform": [1e-5, 1e-3]}}
    },
    "stop": {"env_steps": 1500},
    "tune": {
        "num_samples": NUM_TRIALS,
        "max_concurrent": 1,
        "metric": "episode_length_mean",
        "mode": "min",
        "search": {"optuna": {"n_startup_trials": 2, "points_to_evaluate": [{LENGTH: 9}]}},
        "scheduler": {"asha": {"grace_period": 300, "reduction_factor": 2}},
    },
    "checkpoint": {"frequency": 2, "grace_s": 120},
}
FEWER = f"tune.num_samples={NUM_TRIALS - 2}"


@pytest.fixture(scope="module")
def whole(place: Workplace, cluster: Head) -> Run:
    cluster.tune(place, "--config", place.write_experiment(name="whole", **CONFIG)).check()
    return place.run("whole")


@pytest.fixture(scope="module")
def experiment(place: Workplace) -> str:
    return str(place.write_experiment(name="search", **CONFIG))


@pytest.fixture(scope="module")
def killed(place: Workplace, cluster: Head, experiment: str) -> dict[str, tuple[int, int]]:
    """Kills the search of four trials in its second one; returns the first one's files."""
    running = cluster.start(place, "--config", experiment, "--set", FEWER)
    run = place.run("search")
    second = run.trial(1)
    running.wait_until(lambda: second.num_rows() > 2, "its second trial's third iteration")
    running.process.send_signal(signal.SIGKILL)
    assert running.wait().code == -signal.SIGKILL
    assert [bool(trial["params"]) for trial in run.summary["trials"]][:2] == [True, True]
    return snapshot(run.trial(0).folder)


@pytest.fixture(scope="module")
def interrupted(
    place: Workplace, cluster: Head, experiment: str, killed: dict
) -> tuple[Outcome, list[str]]:
    """Resumes it and asks it to stop in its third trial; returns the studied trials' states."""
    running = cluster.start(place, "--config", experiment, "--set", FEWER, "--resume")
    third = place.run("search").trial(2)
    running.wait_until(lambda: third.num_rows() > 0, "its third trial's first iteration")
    running.process.send_signal(signal.SIGTERM)
    outcome = running.wait()
    return outcome, [trial.state.name for trial in study_of(place.run("search")).trials]


@pytest.fixture(scope="module")
def resumed(place: Workplace, cluster: Head, experiment: str, interrupted: tuple) -> Run:
    """Resumes it to its end, with two trials more than before."""
    cluster.tune(place, "--config", experiment, "--resume").check()
    return place.run("search")


def test_the_study_knows_every_trial_once(whole):
    assert [trial.user_attrs["trial_id"] for trial in study_of(whole).trials] == [
        trial["trial_id"] for trial in whole.summary["trials"]
    ]
    lengths = [trial["params"][LENGTH] for trial in whole.summary["trials"]]
    assert [trial.params[LENGTH] for trial in study_of(whole).trials] == lengths
    assert lengths[0] == 9
    best = min(trial.value for trial in study_of(whole).trials if trial.state.name == "COMPLETE")
    assert study_of(whole).best_value == best


def test_asha_stops_trials_of_a_search_and_the_study_calls_them_pruned(whole):
    ends = {trial["trial_id"]: trial for trial in whole.summary["trials"]}
    states = {t.user_attrs["trial_id"]: t for t in study_of(whole).trials}
    assert {end["status"] for end in ends.values()} == {"finished", "stopped"}
    for trial_id, end in ends.items():
        state = "COMPLETE" if end["status"] == "finished" else "PRUNED"
        assert states[trial_id].state.name == state
        assert states[trial_id].value == end["metric"] == end["params"][LENGTH]


def test_a_signal_leaves_a_trial_open(interrupted):
    outcome, states = interrupted
    assert outcome.code in (0, 75), outcome.output  # 0: all were over before the signal was seen
    assert outcome.code == 0 or states[-1] in ("RUNNING", "COMPLETE", "PRUNED")
    assert "FAIL" not in states


def test_all_decisions_are_those_of_a_search_without_interruptions(whole, resumed):
    assert decisions(resumed) == decisions(whole)


def test_a_finished_trial_does_not_run_again(killed, resumed):
    assert snapshot(resumed.trial(0).folder) == killed
