"""Frozen policies, and policies that start from another run's checkpoint.

Their run takes the place of an older one, with `--overwrite`.
"""

from __future__ import annotations

import json
import shutil

import pytest
from commands import Outcome, Run, Workplace
from ray_head import Head

# Adam moves a weight by about lr in each update: in float32 the second lr moves nothing.
LEARNING, STANDING_STILL = 1.0e-3, 1.0e-30


@pytest.fixture(scope="module")
def run(place: Workplace, cluster: Head, smoke: Outcome, smoke_place: Workplace) -> Run:
    """Both policies start from `smoke`'s; `learner` learns in the first of two trials."""
    source = smoke_place.run("smoke").folder
    config = place.write_experiment(
        name="policies",
        seed=1,
        policies={
            "agent_0": {"policy": "frozen", "train": False, "checkpoint": f"{source}#agent_1"},
            "agent_1": {"policy": "learner", "checkpoint": f"{source}/trial_00000#agent_0"},
        },
        model={"hidden_sizes": [64, 64]},
        algorithm={"params": {"lr": {"grid_search": [LEARNING, STANDING_STILL]}}},
        checkpoint={"num_to_keep": 100},
    )
    older = place.run("policies").folder
    shutil.copytree(source, older)
    (older / "notes.txt").write_text("of the older run")
    cluster.tune(place, "--config", config, "--overwrite").check()
    return place.run("policies")


@pytest.fixture(scope="module")
def source(smoke: Outcome, smoke_place: Workplace):
    return smoke_place.run("smoke").trial()


def equal(one, other) -> bool:
    assert one.keys() == other.keys()
    return all((one[name] == other[name]).all() for name in one)


@pytest.mark.parametrize("number", [0, 1])
def test_a_frozen_policy_keeps_the_weights_it_started_with(run, source, number):
    trial = run.trial(number)
    assert len(trial.checkpoints()) == 4
    for checkpoint in range(4):
        assert equal(trial.weights(checkpoint, "frozen"), source.weights(-1, "agent_1"))


def test_the_other_policy_learns_meanwhile(run):
    trial = run.trial(0)
    for checkpoint in range(3):
        assert not equal(
            trial.weights(checkpoint, "learner"), trial.weights(checkpoint + 1, "learner")
        )


def test_a_policy_starts_with_exactly_the_weights_of_the_checkpoint(run, source):
    assert equal(run.trial(1).weights(0, "learner"), source.weights(-1, "agent_0"))


def test_a_frozen_policy_has_returns_but_no_losses(run):
    columns = run.trial(0).rows()[0].keys()
    assert "policy_return_mean/frozen" in columns
    losses = [key for key in columns if key.endswith("_loss")]
    assert "learner/learner/total_loss" in losses
    assert not [key for key in losses if key.startswith("learner/frozen/")]


def test_overwrite_starts_afresh(run):
    assert not (run.folder / "notes.txt").exists()
    assert [trial["seed"] for trial in run.summary["trials"]] == [1, 1]
    assert run.trial().column("training_iteration") == [1, 2, 3, 4]
    assert run.trial().iterations() == [1, 2, 3, 4]
    (session,) = json.loads((run.folder / "provenance.json").read_text())["sessions"]
    assert "--overwrite" in session["command"]
