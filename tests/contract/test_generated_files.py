"""The generated files agree with the installed RLlib and with the models."""

from __future__ import annotations

import json
import pkgutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from empo_rllib.config import generate
from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.load import validate_config
from empo_rllib.config.option_texts import PARAM_MEANINGS
from empo_rllib.config.params import known_params, params_by_method
from empo_rllib.config.search_space import leaves

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "empo_rllib/config/schema.json").read_text())
OPTIONS = (ROOT / "docs/options.md").read_text()
MINIMAL = {"name": "run", "env": {"id": "x"}, "algorithm": {"name": "PPO"}}


def is_valid(data: Any) -> bool:
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(data)


def test_the_generated_files_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0, capsys.readouterr().out


def test_the_reference_has_every_key_that_a_file_can_hold() -> None:
    loaded = validate_config({**MINIMAL, "tune": {"scheduler": "asha"}})
    logging = {"tensorboard": True, "wandb": {"project": "p", "group": None, "mode": "online"}}
    keys = {key for key, _ in leaves({**loaded.to_dict(), "logging": logging})}
    assert {key for key in keys if f"| `{key}` |" not in OPTIONS} == set()


def test_the_reference_explains_parameters_that_there_are_and_lists_the_others() -> None:
    known = {name for algorithm in ALGORITHMS for name in known_params(algorithm)}
    assert PARAM_MEANINGS.keys() <= known
    assert {name for name in known if f"`{name}`" not in OPTIONS} == set()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_rllib_takes_every_listed_parameter_in_the_listed_method(algorithm: str) -> None:
    config = pkgutil.resolve_name(ALGORITHMS[algorithm].config_class)()
    defaults = {
        name: param.default
        for name, param in known_params(algorithm).items()
        if param.default is not None
    }
    for method, values in params_by_method(algorithm, defaults).items():
        getattr(config, method)(**values)
    taken = {name: getattr(config, name, None) for name in defaults}
    assert json.loads(json.dumps(taken)) == defaults


def test_the_schema_is_a_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seed": {"grid_search": [0, 1]}},
        {"policies": {"agent_*": "a", "agent_0": {"policy": "b", "train": False}}},
        {"tune": {"scheduler": "asha"}},
        {"tune": {"scheduler": {"asha": {"max_t": 1000}}}},
        {"model": {"class": "a.b:C", "hidden_sizes": {"choice": [[64], [128]]}}},
        {"algorithm": {"name": "PPO", "params": {"lr": {"loguniform": [1e-5, 1e-3]}}}},
        {"algorithm": {"name": "SAC", "params": {"actor_lr": [[0, 1e-3], [10, 1e-4]]}}},
        {"resources": {"num_gpus_per_learner": 0.5}},
    ],
)
def test_the_schema_accepts_what_loads(changes: dict[str, Any]) -> None:
    assert is_valid({**MINIMAL, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"nme": 1},
        {"seed": "x"},
        {"seed": {"grid": [1]}},
        {"stop": {"env_steps": 0}},
        {"tune": {"scheduler": "hyperband"}},
        {"algorithm": {"name": "QMIX"}},
        {"algorithm": {"name": "PPO", "params": {"lrr": 1}}},
        {"algorithm": {"name": "SAC", "params": {"lr": 1}}},
        {"policies": {"agent_0": 3}},
    ],
)
def test_the_schema_refuses_what_does_not_load(changes: dict[str, Any]) -> None:
    assert not is_valid({**MINIMAL, **changes})


@pytest.mark.parametrize(
    "path",
    sorted([*ROOT.glob("tune_configs/*.yaml"), *ROOT.glob("examples/*.yaml")]),
    ids=lambda path: path.name,
)
def test_shipped_experiments_fit_the_schema_and_name_it(path: Path) -> None:
    text = path.read_text()
    assert is_valid(yaml.safe_load(text))
    header = "# yaml-language-server: $schema=../empo_rllib/config/schema.json"
    assert text.startswith(header)
