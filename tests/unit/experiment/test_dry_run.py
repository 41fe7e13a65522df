"""What `--dry-run` says."""

from __future__ import annotations

import pytest
import ray
import yaml

from empo_rllib.config.load import validate_config
from empo_rllib.errors import ConfigError
from empo_rllib.experiment.dry_run import render_dry_run


@pytest.fixture
def sections(experiment, tmp_path):
    """The parts of a dry run of a grid over two seeds, by their titles."""
    config = experiment(
        algorithm={"name": "PPO", "params": {"lr": {"grid_search": [0.0125, 1e-4]}}},
        policies={"agent_0": {"policy": "fixed", "train": False}, "agent_1": "walker"},
        tune={"num_samples": 2},
        resources={"num_env_runners": 3},
    )
    text = render_dry_run(config)
    assert not ray.is_initialized()
    assert list(tmp_path.iterdir()) == []
    parts = [part.split("\n", 1) for part in text.split("\n\n")]
    return {"config": config, **{title.removeprefix("# "): body for title, body in parts}}


def test_the_resolved_experiment_can_be_used_as_one(sections):
    data = yaml.safe_load(sections["resolved experiment"])
    assert validate_config(data) == sections["config"]
    assert data["stop"]["env_steps"] == 200_000


def test_the_sampler_is_told_with_its_reason(sections):
    assert sections["sampler"].strip().endswith(")")
    assert sections["sampler"].strip().split()[0] in ("batched", "python")


def test_each_policy_is_told_where_its_network_is_trained(sections):
    assert sections["networks"].splitlines() == [
        *("  fixed: compiled kernels", "  walker: compiled kernels")
    ]


def test_the_place_of_the_results_is_absolute(sections, tmp_path):
    assert sections["results"].strip() == str(tmp_path / "results" / "run")


def test_each_trial_is_listed_with_its_seed_and_values(sections):
    lines = sections["trials (4)"].splitlines()
    assert [line.split()[0] for line in lines] == [f"trial_{i:05d}" for i in range(4)]
    assert ["seed 1" in line for line in lines] == [False, False, True, True]
    assert ["0.0125" in line for line in lines] == [True, False, True, False]


def test_policies_are_listed_with_their_agents(sections):
    assert sections["policies"].splitlines() == ["  fixed: agent_0 (frozen)", "  walker: agent_1"]


def test_every_rllib_setting_unlike_its_default_is_shown_with_both_values(sections):
    title = "RLlib settings of trial_00000 that differ from its defaults"
    lines = sections[title].splitlines()
    assert "  lr: 0.0125  (default 5e-05)" in lines
    assert "  num_env_runners: 3  (default 2)" in lines
    assert not [line for line in lines if line.startswith("  gamma:")]
    assert all(len(line) < 240 for line in lines)


def test_what_a_trial_needs_is_next_to_what_there_is(sections):
    cpu, gpu = sections["resources"].splitlines()
    assert cpu.startswith("  CPU: one trial needs 4, this machine has ")
    assert gpu.startswith("  GPU: one trial needs ")


def test_a_mistake_that_training_would_refuse_is_refused(experiment):
    with pytest.raises(ConfigError, match="Did you mean"):
        render_dry_run(experiment(env={"id": "MultiGrid-Empty-5x5-v1"}))


def test_the_settings_of_each_algorithm_are_shown(experiment):
    algorithm = {"name": {"grid_search": ["PPO", "DQN"]}, "params": {"gamma": 0.9}}
    text = render_dry_run(experiment(algorithm=algorithm, tune={"num_samples": 2}))
    ppo, dqn = (text.partition(f"# RLlib settings of trial_0000{i} that")[2] for i in (0, 1))
    assert "  gamma: 0.9  (default 0.99)" in ppo.partition("\n\n")[0]
    assert "  replay_buffer_config: " not in ppo.partition("\n\n")[0]
    assert "  replay_buffer_config: " in dqn.partition("\n\n")[0]
    assert "RLlib settings of trial_00002" not in text
