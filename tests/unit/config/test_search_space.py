"""Search spaces that are not well formed, or stand where there can be none."""

from __future__ import annotations

from typing import Any

import pytest

from empo_rllib.config.load import validate_config
from empo_rllib.errors import ConfigError

MINIMAL = {"name": "run", "env": {"id": "x"}, "algorithm": {"name": "PPO"}}


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"seed": {"uniform": [2, 1]}}, "needs low < high after uniform"),
        ({"seed": {"randint": [1, 1]}}, "needs low < high after randint"),
        ({"seed": {"randint": [1, 2.5]}}, "needs two integers"),
        ({"seed": {"uniform": [1, 5]}}, "use randint or choice"),
        ({"seed": {"randnt": [1, 2]}}, "Did you mean 'randint'?"),
        ({"seed": {"choice": []}}, "at least one option after choice"),
        ({"seed": {"choice": [1, "x"]}}, "seed = 'x' must be an integer"),
        ({"seed": {"choice": [1, {"choice": [2]}]}}, "holds another search space"),
        ({"env": {"id": "x", "kwargs": {"p": {"uniform": [0, 10**400]}}}}, "needs two numbers"),
        ({"env": {"id": "x", "kwargs": {"p": {"randint": [0, 2**63]}}}}, "needs two integers"),
        ({"seed": {"grid_search": 3}}, "a list of at least one option after grid_search"),
        ({"seed": {"grid": [1]}}, "is not a search space, which has one key of grid_search"),
        ({"env": {"id": "x", "kwargs": {"p": {"loguniform": [0, 1]}}}}, "bounds above 0"),
        ({"env": {"id": "x", "kwargs": {"p": {"uniform": [0, "a"]}}}}, "needs two numbers"),
        ({"model": {"hidden_sizes": {"choice": [[0]]}}}, "model.hidden_sizes"),
        ({"model": {"kwargs": {"a": {"uniform": [float("nan"), 1]}}}}, "needs two numbers"),
        ({"storage_path": {"choice": ["a"]}}, "must not be a search space"),
        (
            {"tune": {"num_samples": 10**9}},
            "tune.num_samples = 1000000000 gives 1,000,000,000 trials with the grids, and at most",
        ),
        (
            {
                "algorithm": {
                    "name": "PPO",
                    "params": {
                        key: {"grid_search": [n / 100 for n in range(1, 99)]}
                        for key in ("lr", "gamma", "lambda_")
                    },
                }
            },
            "tune.num_samples = 1 gives 941,192 trials with the grids",
        ),
        (
            {"seed": {"grid_search": [0, 1]}, "tune": {"num_samples": 2}},
            "tune.num_samples = 2 would run identical trials",
        ),
    ],
)
def test_a_bad_search_space_is_refused(changes: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigError) as raised:
        validate_config({**MINIMAL, **changes})
    assert part in str(raised.value)


KWARGS = {"kind": {"choice": ["a", "b"]}, "size": {"randint": [1, 9]}}


@pytest.mark.parametrize(
    ("when", "part"),
    [
        (3, "needs {dotted key: option} after when"),
        ({}, "needs {dotted key: option} after when"),
        ({"env.kwargs.knd": "a"}, "without a search space. Did you mean 'env.kwargs.kind'?"),
        ({"env.kwargs.size": 3}, "without options: env.kwargs.size is randint. Make it choice."),
        (
            {"env.kwargs.kind": "c"},
            "when.env.kwargs.kind = 'c' is not among the options ['a', 'b']",
        ),
        ({"seed": 0}, "names a key without a search space"),
        ({"env.kwargs.n": 1}, "depends on itself"),
        ({"env.kwargs.m": 1}, "depends on itself"),
    ],
)
def test_a_bad_condition_is_refused(when: Any, part: str) -> None:
    own = {"n": {"choice": [1, 2], "when": when}}
    own["m"] = {"choice": [1, 2], "when": {"env.kwargs.n": 1}}
    with pytest.raises(ConfigError) as raised:
        validate_config({**MINIMAL, "env": {"id": "x", "kwargs": KWARGS | own}})
    assert part in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"seed": {"choice": [1, 2]}}, "every trial has a value of this key"),
        ({"model": {"agent_id": {"grid_search": [True, False]}}}, "grid, which cannot have"),
    ],
)
def test_what_every_trial_has_takes_no_condition(changes: dict[str, Any], part: str) -> None:
    ((root, tree),) = changes.items()
    space = tree if root == "seed" else tree["agent_id"]
    space["when"] = {"env.kwargs.kind": "a"}
    with pytest.raises(ConfigError) as raised:
        validate_config({**MINIMAL, "env": {"id": "x", "kwargs": KWARGS}, **changes})
    assert part in str(raised.value)


def test_a_parameter_of_one_algorithm_stands_beside_those_of_another() -> None:
    params = {
        "clip_param": {"uniform": [0.1, 0.4], "when": {"algorithm.name": "PPO"}},
        "n_step": {"choice": [1, 3], "when": {"algorithm.name": "DQN"}},
    }
    algorithm = {"name": {"choice": ["PPO", "DQN"]}, "params": params}
    assert validate_config({**MINIMAL, "algorithm": algorithm}).algorithm.params == params
    params["n_step"]["choice"] = [0]
    with pytest.raises(ConfigError, match=r"n_step.*\n.*rule for DQN"):
        validate_config({**MINIMAL, "algorithm": algorithm})
    del params["clip_param"]["when"]
    with pytest.raises(ConfigError, match="not of DQN"):
        validate_config({**MINIMAL, "algorithm": algorithm})


def test_members_of_a_population_have_every_value() -> None:
    params = {"gamma": {"uniform": [0.9, 1.0], "when": {"algorithm.params.num_epochs": 2}}}
    params |= {"num_epochs": {"choice": [1, 2]}}
    tune = {"scheduler": "pbt", "num_samples": 4}
    with pytest.raises(ConfigError, match=r"algorithm\.params\.gamma cannot have when"):
        validate_config({**MINIMAL, "algorithm": {"name": "PPO", "params": params}, "tune": tune})
