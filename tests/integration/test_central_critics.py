"""Critics that see more than their agents: trained, killed, resumed and used as any other run."""

from __future__ import annotations

import pytest
from commands import CONFIGS, Run, Workplace
from ray_head import Head

MODEL = {"critic": "state", "value_norm": True}
FREQUENCY = 2


@pytest.fixture(scope="module")
def resumed(place: Workplace, cluster: Head) -> Run:
    """A run with critics of the state that was killed and went on."""
    experiment = place.write_experiment(
        name="state",
        env={
            "id": "mpe2.simple_spread_v3",
            "num_agents": None,
            "kwargs": {"max_cycles": 10, "max_steps": None},
        },
        policies={"agent_0": "lead", "agent_*": "others"},
        model=MODEL,
        stop={"env_steps": 20_000},
        checkpoint={"frequency": FREQUENCY},
    )
    return cluster.tune_after_kill(place, experiment, FREQUENCY)


@pytest.mark.slow
def test_a_killed_run_goes_on_with_what_its_value_targets_were(resumed):
    trial = resumed.trial()
    iterations = len(trial.rows())
    assert resumed.summary["sampler"] == "python"
    for policy in ("lead", "others"):
        weights = trial.weights(-1, policy)
        # Each iteration adds 1 to what was there, times 0.99: none is lost, none counts twice.
        expected = sum(0.99**past for past in range(iterations))
        assert weights["value_norm.weight"] == pytest.approx(expected, rel=1e-4)
        assert weights["value_norm.mean"] < -1


@pytest.mark.slow
def test_its_policies_are_evaluated_recorded_and_exported(resumed, place):
    folder = resumed.folder
    place.shell("evaluate", folder, "--episodes", 2).check()
    place.shell("record", folder, "--episodes", 1, "--out", place.folder / "film.gif").check()
    place.shell("export", folder, "--out", place.folder / "bundle").check()


@pytest.mark.slow
def test_the_shipped_experiment_learns_with_a_central_critic(place, cluster):
    settings = {
        "env.kwargs.max_steps": 20,
        "stop.env_steps": 1000,
        "algorithm.params.train_batch_size_per_learner": 250,
        "algorithm.params.minibatch_size": 100,
    }
    changes = [f"--set={key}={value}" for key, value in settings.items()]
    cluster.tune(place, "--config", CONFIGS / "mappo.yaml", *changes).check()
    run = place.run("empty-8x8-mappo")
    assert run.summary["sampler"] == "batched"
    assert run.trial().weights(-1, "shared")["value_norm.weight"] > 3
