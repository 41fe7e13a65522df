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
