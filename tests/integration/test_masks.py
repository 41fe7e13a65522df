"""A game by turns with action masks and a memory: trained, killed, resumed and used as any run."""

from __future__ import annotations

import json

import pytest
from commands import Run, Workplace
from ray_head import Head

FREQUENCY = 2


@pytest.fixture(scope="module")
def resumed(place: Workplace, cluster: Head) -> Run:
    """A run in Connect Four, whose players are paid what both earn, that was killed and went on."""
    experiment = place.write_experiment(
        name="masked",
        env={
            "id": "pettingzoo.classic.connect_four_v3",
            "num_agents": None,
            "team_reward": "mean",
            "kwargs": {"max_steps": None},
        },
        policies="shared",
        model={"memory": "gru"},
        stop={"env_steps": 20_000},
        checkpoint={"frequency": FREQUENCY},
    )
    return cluster.tune_after_kill(place, experiment, FREQUENCY)


@pytest.mark.slow
def test_a_masked_run_is_resumed_evaluated_recorded_and_exported(resumed, place):
    assert resumed.summary["sampler"] == "python"
    assert resumed.summary["networks"] == {"shared": "torch (the network has a memory)"}
    folder = resumed.folder
    place.shell("evaluate", folder, "--episodes", 4).check()
    place.shell("record", folder, "--episodes", 1, "--out", place.folder / "film.gif").check()
    place.shell("export", folder, "--out", place.folder / "bundle").check()
    bundle = json.loads((place.folder / "bundle/bundle.json").read_text())
    check = bundle["check"]["shared"]
    assert check["equal_actions"] == check["observations"] > 0
    # Its own reward is what an agent is reported to have earned: one wins what the other loses.
    assert {row["episode_return_mean"] for row in resumed.trial().rows()} <= {"", "0.0"}
