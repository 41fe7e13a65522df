"""The other algorithms learn from their shipped files; all on one cluster joined by `--address`."""

from __future__ import annotations

import math

import pytest
from commands import CONFIGS, Run, Workplace
from ray_head import Head

CHANGES = {
    "appo": {"algorithm.params.train_batch_size_per_learner": 200},
    "impala": {"algorithm.params.train_batch_size_per_learner": 200},
    "dqn": {"algorithm.params.target_network_update_freq": 100},
    "sac": {},
    "tqc": {"env.kwargs.max_steps": None, "algorithm.params.n_quantiles": 5},
}
AGENTS = {"tqc": ("agent_0",)}  # on Pendulum
OFF_POLICY = {
    "algorithm.params.train_batch_size_per_learner": 32,
    "algorithm.params.num_steps_sampled_before_learning_starts": 200,
}
COMMON = {
    "algorithm.params.min_sample_timesteps_per_iteration": 200,
    "resources.num_envs_per_env_runner": 4,
    "model.hidden_sizes": [16],
    "env.kwargs.max_steps": 20,
    "stop.env_steps": 800,
    "checkpoint.frequency": 1,
    "checkpoint.num_to_keep": 100,
}


@pytest.fixture(scope="module", params=CHANGES)
def run(request: pytest.FixtureRequest, place: Workplace, cluster: Head) -> Run:
    algorithm = request.param
    changes = {**COMMON, **(OFF_POLICY if algorithm in ("dqn", "sac", "tqc") else {})}
    changes |= {**CHANGES[algorithm], "name": algorithm}
    settings = [f"--set={key}={value}" for key, value in changes.items() if value is not None]
    file = CONFIGS / f"{algorithm}.yaml"
    cluster.tune(place, "--config", file, *settings).check()
    return place.run(algorithm)


@pytest.fixture
def agents(run: Run) -> tuple[str, ...]:
    return AGENTS.get(run.folder.name, ("agent_0", "agent_1"))


def test_losses_are_there_and_finite(run, agents):
    rows = run.trial().rows()
    losses = [key for key in rows[-1] if key.endswith("_loss")]
    for agent in agents:
        assert any(key.startswith(f"learner/{agent}/") for key in losses)
    seen = {key: [float(row[key]) for row in rows if row[key]] for key in losses}
    for key, values in seen.items():
        assert values, key
        assert all(map(math.isfinite, values)), key


def test_training_changes_the_weights_of_every_policy(run, agents):
    trial = run.trial()
    assert len(trial.checkpoints()) >= 2
    for agent in agents:
        first, last = trial.weights(0, agent), trial.weights(-1, agent)
        assert first.keys() == last.keys()
        assert any((first[name] != last[name]).any() for name in first)
        assert all(math.isfinite(float(abs(array).sum())) for array in last.values())


def test_rows_count_up_to_the_budget(run):
    env_steps = run.trial().column("env_steps")
    assert env_steps == sorted(set(env_steps))
    assert env_steps[-1] >= 800
    assert run.summary["status"] == "finished"


def test_the_cluster_stays_up_and_holds_nothing_of_the_run(run, cluster, place):
    assert any("gcs_server" in command for command in cluster.place.processes().values())
    assert not place.processes()
