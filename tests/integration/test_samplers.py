"""The ways to sample stand in for each other, and survive what they stand on."""

from __future__ import annotations

import itertools
import os
import pickle
import signal

import pytest
from commands import Outcome, Run, Workplace
from ray_head import Head

pytestmark = pytest.mark.core

BATCH = 400
# Long enough that a killed env runner is missed, and comes back, in time.
LONG = {
    "name": "long",
    "algorithm": {"params": {"train_batch_size_per_learner": BATCH}},
    "resources": {"num_env_runners": 1},
    "checkpoint": {"frequency": 1000},
    "stop": {"env_steps": 10_000_000},
}


def env_runners(cluster: Head) -> set[int]:
    processes = cluster.place.processes()
    return {pid for pid, text in processes.items() if "FragmentEnvRunner" in text}


@pytest.mark.slow
def test_a_killed_env_runner_comes_back_and_every_batch_is_whole(
    place: Workplace, own_cluster: Head
) -> None:
    running = own_cluster.start(place, "--config", place.write_experiment(**LONG))
    trial = place.run("long").trial()
    running.wait_until(lambda: trial.num_rows() >= 2, "two training iterations")
    before = env_runners(own_cluster)
    assert len(before) == 1, own_cluster.place.processes()
    (killed,) = before
    os.kill(killed, signal.SIGKILL)
    running.wait_until(lambda: bool(env_runners(own_cluster) - before), "another env runner")
    trained = trial.column("env_steps")[-1]
    running.wait_until(
        lambda: trial.column("env_steps")[-1] >= trained + 5 * BATCH, "more training iterations"
    )
    running.ctrl_c()
    assert running.wait().code == 75
    steps = [0.0, *trial.column("env_steps")]
    batches = [after - before for before, after in itertools.pairwise(steps)]
    assert set(batches) == {BATCH}  # an iteration that nobody sampled for has no row
    assert trial.column("training_iteration") == list(range(1, len(batches) + 1))


# A run that changes its sampler with every `--resume`.
SAMPLERS = ("rllib", "batched", "rllib", "python")


@pytest.fixture(scope="module")
def outcomes(place: Workplace, cluster: Head) -> list[Outcome]:
    experiment = place.write_experiment(
        name="changing", algorithm={"params": {"num_epochs": 2}}, tune={"max_failures": 0}
    )
    outcomes = []
    for number, sampler in enumerate(SAMPLERS):
        arguments = ["--config", experiment, "--set", f"resources.sampler={sampler}"]
        arguments += ["--set", f"stop.env_steps={400 * (number + 1)}"]
        if sampler == "batched":  # fragments travel to a learner of its own
            arguments += ["--set", "resources.num_learners=1"]
        arguments += ["--resume"] if number else []
        outcomes.append(cluster.tune(place, *arguments).check())
    return outcomes


@pytest.fixture(scope="module")
def changing(place: Workplace, outcomes: list[Outcome]) -> Run:
    return place.run("changing")


def test_each_resume_says_which_sampler_it_took(outcomes):
    for outcome, sampler in zip(outcomes, SAMPLERS, strict=True):
        assert f"sampler: {sampler} (as asked for)" in outcome.stderr


def test_the_summary_names_the_last_sampler(changing):
    assert changing.summary["sampler"] == "python"


def test_counters_go_on_from_one_sampler_to_another(changing):
    assert changing.trial().column("training_iteration") == [float(i) for i in range(1, 17)]
    steps = changing.trial().column("env_steps")
    new = {after - before for before, after in itertools.pairwise([0.0, *steps])}
    assert new == {100.0}


def test_what_adam_knows_is_kept_from_one_learner_to_another(changing):
    state = changing.trial().checkpoints()[-1] / "algorithm/learner_group/learner/state.pkl"
    optimizers = pickle.loads(state.read_bytes())["optimizer"]
    steps = {
        float(parameter["step"])
        for one in optimizers.values()
        for parameter in one["state"]["state"].values()
    }
    assert min(steps) >= 16 * 2 * 2  # 16 iterations of 2 epochs of 2 minibatches or more
