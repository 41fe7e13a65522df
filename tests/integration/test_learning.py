"""A trial that must learn; W&B follows it without a key and without a network."""

from __future__ import annotations

import pytest
from commands import Outcome, Run, Workplace
from ray_head import Head

CONFIG = {
    "name": "learning",
    "env": {"kwargs": {"max_steps": None}},
    "algorithm": {
        "params": {
            "lr": 3.0e-3,
            "train_batch_size_per_learner": 1000,
            "minibatch_size": 250,
            "num_epochs": 4,
        }
    },
    "model": {"hidden_sizes": [64, 32]},
    "resources": {"num_envs_per_env_runner": 20},
    "stop": {"env_steps": 100_000, "episode_return_mean": 0.8},
    "checkpoint": {"frequency": 10},
    "logging": {"wandb": {"project": "learning"}},
}
# Nothing listens there: as good as no network.
NO_NETWORK = {"WANDB_BASE_URL": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}


@pytest.fixture(scope="module")
def outcome(place: Workplace, cluster: Head) -> Outcome:
    config = place.write_experiment(**CONFIG)
    return cluster.start(place, "--config", config, env=NO_NETWORK).wait().check()


@pytest.fixture(scope="module")
def run(outcome: Outcome, place: Workplace) -> Run:
    return place.run("learning")


def test_ppo_learns_to_walk_to_the_goal(run):
    (trial,) = run.summary["trials"]
    assert trial["episode_return_mean"] >= 0.8
    assert trial["stop_reason"].startswith("episode_return_mean")
    assert run.trial().column("success_rate")[-1] >= 0.8


def test_a_policy_that_learned_is_surer_of_its_actions(run):
    rows = run.trial().rows()
    agents = [f"learner/agent_{number}/entropy" for number in (0, 1)]
    start, end = (min(float(row[agent]) for agent in agents) for row in (rows[0], rows[-1]))
    assert end < start


def test_wandb_without_a_key_logs_offline_and_says_so_once(outcome, run):
    assert outcome.stderr.count("W&B: no API key") == 1
    assert "Training goes on without it" not in outcome.stderr
    (offline,) = (run.trial().folder / "wandb").glob("offline-run-*")
    (log,) = offline.glob("*.wandb")
    assert log.stat().st_size > 0


def test_wandb_writes_nothing_outside_the_run_folder(outcome, place):
    assert not list(place.folder.glob("wandb"))
