"""Defaults, conversions and round trips of the experiment model."""

from __future__ import annotations

from typing import Any

import pytest

from empo_rllib.config.load import validate_config
from empo_rllib.config.schema import ExperimentConfig, differences
from empo_rllib.config.yaml_text import parse_yaml


def config(**changes: Any) -> ExperimentConfig:
    minimal = {"name": "run", "env": {"id": "CartPole-v1"}, "algorithm": {"name": "PPO"}}
    return validate_config({**minimal, **changes})


FULL = config(
    seed={"grid_search": [0, 1]},
    env={"id": "MultiGrid-Empty-8x8-v0", "num_agents": 2, "kwargs": {"size": {"choice": [6, 8]}}},
    policies={
        "agent_0": "walker",
        "agent_*": {"policy": "fixed", "train": False, "checkpoint": "r"},
    },
    algorithm={
        "name": "PPO",
        "params": {"lr": [[0, 1e-3], [1e5, 1e-5]], "gamma": 1e-4, "minibatch_size": None},
        "callbacks": ["mine.callbacks:Log"],
    },
    model={
        "class": "mine.net:Net",
        "hidden_sizes": {"grid_search": [[64], [128, 64]]},
        "agent_id": {"choice": [True, None]},
        "kwargs": {"text": "1e-4", "yes": "yes", "date": "2024-01-01"},
    },
    resources={"num_gpus_per_learner": 0.5},
    stop={"env_steps": None, "time_s": 60},
    tune={"scheduler": {"asha": {"max_t": 1e5}}, "num_samples": 2},
    logging={"wandb": {"project": "p", "mode": "offline"}},
)


def test_the_keys_are_the_contract() -> None:
    keys = " ".join(config().to_dict())
    assert keys == (
        "name seed storage_path env policies algorithm model resources stop tune checkpoint "
        "evaluation logging"
    )


def test_defaults() -> None:
    data = config().to_dict()
    assert data["stop"]["env_steps"] == 200_000
    assert data["policies"] == "independent"
    assert data["model"]["hidden_sizes"] == [64, 64]
    assert data["resources"]["num_envs_per_env_runner"] == 40
    assert data["checkpoint"] == {"frequency": 10, "num_to_keep": 2, "grace_s": 60.0}
    assert data["tune"]["metric"] == "episode_return_mean"


@pytest.mark.parametrize("experiment", [config(), FULL], ids=["minimal", "full"])
def test_to_yaml_loads_back_equal(experiment: ExperimentConfig) -> None:
    text = experiment.to_yaml()
    again = validate_config(parse_yaml(text, "text"))
    assert again == experiment
    assert again.to_yaml() == text


def test_a_whole_number_may_be_written_as_a_float() -> None:
    experiment = config(
        stop={"env_steps": 2e5},
        algorithm={"name": "PPO", "params": {"train_batch_size_per_learner": 4e3}},
    )
    assert isinstance(experiment.stop.env_steps, int)
    assert isinstance(experiment.algorithm.params["train_batch_size_per_learner"], int)


def test_fields_have_descriptions() -> None:
    def undescribed(node: Any, path: str = "") -> list[str]:
        properties = node.get("properties", {})
        return [f"{path}.{key}" for key, value in properties.items() if "description" not in value]

    schema = ExperimentConfig.model_json_schema()
    nodes = {"": schema, **schema["$defs"]}
    assert [key for path, node in nodes.items() for key in undescribed(node, path)] == []


def test_differences_are_dotted_keys_in_the_order_of_the_file() -> None:
    changed = config(
        seed=1,
        env={"id": "CartPole-v1", "kwargs": {"size": 3}},
        algorithm={"name": "PPO", "params": {"lr": 1e-4}},
        stop={"env_steps": 5},
    )
    keys = ["seed", "env.kwargs", "algorithm.params", "stop.env_steps"]
    assert set(differences(config(), changed)) == {
        *keys,
        "env.kwargs.size",
        "algorithm.params.lr",
    }
    assert differences(changed, changed) == []
