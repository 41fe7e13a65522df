"""A population goes through a kill and a signal: every round is decided once, from what is on disk.

Four members share two CPUs, so that they take turns.
"""

from __future__ import annotations

import json
import signal

import pytest
from commands import Outcome, Run, Workplace
from decisions import check_rounds
from ray_head import Head

from empo_rllib.experiment.population import Round, read_rounds

INTERVAL, NUM_ROUNDS = 400, 4
LR = "algorithm.params.lr"
CONFIG = {
    "seed": 5,
    "algorithm": {
        "params": {
            "metrics_num_episodes_for_smoothing": 5,
            "lr": {"loguniform": [1e-4, 1e-2]},
            "num_epochs": {"randint": [1, 4]},
        }
    },
    "stop": {"env_steps": INTERVAL * NUM_ROUNDS + 200},
    "tune": {
        "num_samples": 4,
        "metric": "env_steps_per_s",  # differs, whatever the members learn
        "scheduler": {"pbt": {"perturbation_interval": INTERVAL}},
    },
    "checkpoint": {"frequency": 3, "num_to_keep": 1, "grace_s": 120},
}


@pytest.fixture(scope="module")
def experiment(place: Workplace) -> str:
    return str(place.write_experiment(name="population", **CONFIG))


@pytest.fixture(scope="module")
def rounds_at_the_kill(place: Workplace, own_cluster: Head, experiment: str) -> list[Round]:
    """Kills the driver after the first round; returns what was decided by then."""
    running = own_cluster.start(place, "--config", experiment)
    run = place.run("population")
    running.wait_until(lambda: read_rounds(run.folder), "the first round")
    running.process.send_signal(signal.SIGKILL)
    assert running.wait().code == -signal.SIGKILL
    return read_rounds(run.folder)


@pytest.fixture(scope="module")
def interrupted(
    place: Workplace, own_cluster: Head, experiment: str, rounds_at_the_kill: list[Round]
) -> Outcome:
    """Resumes it and asks it to stop one round later."""
    running = own_cluster.start(place, "--config", experiment, "--resume")
    run = place.run("population")
    more = len(rounds_at_the_kill) + 1
    running.wait_until(lambda: len(read_rounds(run.folder)) >= more, "one more round")
    running.process.send_signal(signal.SIGTERM)
    return running.wait()


@pytest.fixture(scope="module")
def resumed(place: Workplace, own_cluster: Head, experiment: str, interrupted: Outcome) -> Run:
    assert interrupted.code == 75, interrupted.output
    own_cluster.tune(place, "--config", experiment, "--resume").check()
    return place.run("population")


def test_every_member_ends_and_every_round_has_all_of_them(resumed):
    ends = [(trial["status"], trial["env_steps"]) for trial in resumed.summary["trials"]]
    assert ends == [("finished", CONFIG["stop"]["env_steps"])] * 4
    rounds = read_rounds(resumed.folder)
    at = [[member.env_steps for member in one.members] for one in rounds]
    assert at == [[INTERVAL * number] * 4 for number in range(1, NUM_ROUNDS + 1)]


def test_what_was_decided_before_the_kill_stays(rounds_at_the_kill, resumed):
    assert read_rounds(resumed.folder)[: len(rounds_at_the_kill)] == rounds_at_the_kill


def test_each_round_follows_from_the_scores_in_the_trials_own_rows(place, resumed):
    check_rounds(resumed, place.folder / "population.yaml")
    rounds = read_rounds(resumed.folder)
    assert all(any(member.copies for member in one.members) for one in rounds)


def test_the_summary_says_who_copied_whom_when_and_trained_with_which_values(resumed):
    for trial in resumed.summary["trials"]:
        copies = [
            (number, member.env_steps, member.params, member.copies)
            for number, one in enumerate(read_rounds(resumed.folder), start=1)
            for member in one.members
            if member.copies and member.trial_id == trial["trial_id"]
        ]
        start, *changes = trial["schedule"]
        assert (start["round"], start["env_steps"]) == (0, 0)
        assert start["params"] == trial["params"]
        assert copies == [
            (one["round"], one["env_steps"], one["params"], one["copied_from"]) for one in changes
        ]


def test_learning_rates_are_those_of_the_schedule_in_every_row(resumed):
    for number, trial in enumerate(resumed.summary["trials"]):
        for row in resumed.trial(number).rows():
            before = int(row["env_steps"]) - 100
            rates = [one["params"][LR] for one in trial["schedule"] if one["env_steps"] <= before]
            assert float(row["learner/agent_0/learning_rate"]) == pytest.approx(rates[-1])


def test_a_members_schedule_is_replayed_by_a_run_of_its_own(place, own_cluster, resumed):
    trial = max(resumed.summary["trials"], key=lambda one: len(one["schedule"]))
    source = f"results/population#{trial['trial_id']}"
    changes = {**CONFIG, "tune": {"scheduler": {"replay": source}}}
    changes["algorithm"] = {"params": {"metrics_num_episodes_for_smoothing": 5}}
    config = place.write_experiment(name="replayed", **changes)
    own_cluster.tune(place, "--config", config).check()
    (replayed,) = place.run("replayed").summary["trials"]
    assert len(replayed["schedule"]) > 1, json.dumps(replayed["schedule"])
    for row in place.run("replayed").trial().rows():
        before = int(row["env_steps"]) - 100
        rates = [one["params"][LR] for one in replayed["schedule"] if one["env_steps"] <= before]
        assert float(row["learner/agent_0/learning_rate"]) == pytest.approx(rates[-1])
