"""The ways to sample stand in for each other, and survive what they stand on."""

from __future__ import annotations

import itertools
import os
import signal

import pytest
from commands import Outcome, Run, Workplace

BATCH = 400
# Long enough that a killed env runner is missed, and comes back, in time.
LONG = {
    "name": "long",
    "algorithm": {"params": {"train_batch_size_per_learner": BATCH}},
    "resources": {"num_env_runners": 1},
    "checkpoint": {"frequency": 1000},
    "stop": {"env_steps": 10_000_000},
}


def env_runners(place: Workplace) -> set[int]:
    return {pid for pid, text in place.processes().items() if "FragmentEnvRunner" in text}


def test_a_killed_env_runner_comes_back_and_every_batch_is_whole(place: Workplace) -> None:
    running = place.start("--config", place.write_experiment(**LONG))
    trial = place.run("long").trial()
    running.wait_until(lambda: trial.num_rows() >= 2, "two training iterations")
    before = env_runners(place)
    assert len(before) == 1, place.processes()
    (killed,) = before
    os.kill(killed, signal.SIGKILL)
    running.wait_until(lambda: bool(env_runners(place) - before), "another env runner")
    trained = trial.column("env_steps")[-1]
    running.wait_until(
        lambda: trial.column("env_steps")[-1] >= trained + 5 * BATCH, "more training iterations"
    )
    running.ctrl_c()
    assert running.wait().code == 75
    steps = [0.0, *trial.column("env_steps")]
    batches = [after - before for before, after in itertools.pairwise(steps)]
    assert set(batches) <= {0, BATCH}  # RLlib skips an iteration that nobody sampled for
    assert batches[-1] == BATCH


class TestCheckpointsOfEitherPath:
    """A run that changes its sampler with every `--resume`."""

    SAMPLERS = ("rllib", "batched", "rllib", "python")

    @pytest.fixture(scope="class")
    def outcomes(self, place: Workplace) -> list[Outcome]:
        experiment = place.write_experiment(
            name="changing", algorithm={"params": {"num_epochs": 2}}, tune={"max_failures": 0}
        )
        outcomes = []
        for number, sampler in enumerate(self.SAMPLERS):
            arguments = ["--config", experiment, "--set", f"resources.sampler={sampler}"]
            arguments += ["--set", f"stop.env_steps={400 * (number + 1)}"]
            if sampler == "batched":  # fragments travel to a learner of its own
                arguments += ["--set", "resources.num_learners=1"]
            arguments += ["--resume"] if number else []
            outcomes.append(place.tune(*arguments).check())
        return outcomes

    @pytest.fixture(scope="class")
    def run(self, place: Workplace, outcomes: list[Outcome]) -> Run:
        return place.run("changing")

    def test_each_says_which_sampler_it_took(self, outcomes):
        for outcome, sampler in zip(outcomes, self.SAMPLERS, strict=True):
            assert f"sampler: {sampler} (as asked for)" in outcome.stderr

    def test_the_counters_go_on(self, run):
        assert run.trial().column("env_steps") == [100.0 * i for i in range(1, 17)]
        iterations = run.trial().column("training_iteration")
        assert iterations == [float(i) for i in range(1, 17)]

    def test_the_summary_names_the_last_one(self, run):
        assert run.summary["sampler"] == "python"

    def test_what_was_learned_and_adam_knows_is_kept(self, run):
        # A fresh Adam would have counted from 0: 2 epochs of minibatches in 16 iterations.
        import pickle

        from ray.rllib.core.learner.learner import Learner  # noqa: F401  (unpickling needs it)

        state = run.trial().checkpoints()[-1] / "algorithm/learner_group/learner/state.pkl"
        optimizer = pickle.loads(state.read_bytes())["optimizer"]
        steps = {
            float(parameter["step"])
            for one in optimizer.values()
            for parameter in one["state"]["state"].values()
        }
        assert min(steps) >= 16 * 2 * 2
