"""A policy that becomes NaN ends its trial, and is never what --resume continues from."""

from __future__ import annotations

import pytest
from commands import Outcome, Run, Workplace
from ray_head import Head

# Breaks the weights after two good iterations, as a bad update does.
CALLBACK = """
from ray.rllib.callbacks.callbacks import RLlibCallback


class Breaker(RLlibCallback):
    def on_train_result(self, *, algorithm, **kwargs):
        if algorithm.iteration == 3:
            algorithm.learner_group.foreach_learner(break_weights)


def break_weights(learner):
    for parameter in learner.module["agent_0"].parameters():
        parameter.data.fill_(float("nan"))
"""


@pytest.fixture(scope="module")
def run(place: Workplace) -> Run:
    return place.run("broken")


@pytest.fixture(scope="module")
def outcome(place: Workplace, cluster: Head, run: Run) -> Outcome:
    place.write("breaker.py", CALLBACK)
    params = {"lr": {"grid_search": [1.0e-3, 1.0e30]}}
    config = place.write_experiment(
        name=run.folder.name,
        algorithm={"params": params, "callbacks": ["breaker:Breaker"]},
        tune={"max_failures": 0},
    )
    return cluster.tune(place, "--config", config)


def test_the_run_fails_and_says_which_policy_and_when(outcome):
    outcome.check(1)
    assert "status       failed" in outcome.stdout
    assert "trial_00000 failed:\ntraining iteration 3: " in outcome.stdout
    assert "parameters of policy agent_0 are not finite" in outcome.stdout
    assert "The last checkpoint is from iteration 2." in outcome.stdout
    assert "Traceback" not in outcome.output


def test_a_learning_rate_that_is_far_too_high_is_noticed_in_the_first_iteration(outcome):
    assert "trial_00001 failed:\ntraining iteration 1: " in outcome.stdout
    assert "lower algorithm.params.lr" in outcome.stdout


def test_what_came_before_is_not_called_finished_or_best(outcome):
    assert "best return" not in outcome.stdout
    assert "finished" not in outcome.stdout


def test_the_newest_checkpoint_is_from_before(outcome, run):
    assert run.summary["trials"][0]["checkpoint"] == "trial_00000/checkpoint_000002"
    assert run.summary["trials"][1]["checkpoint"] is None
