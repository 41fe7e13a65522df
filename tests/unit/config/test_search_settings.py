"""`tune.search`: what Optuna can search, and the points that it is given."""

from __future__ import annotations

from typing import Any

import pytest

from empo_rllib.config.load import validate_config
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.errors import ConfigError
from empo_rllib.trials import resolve_trial, sample_trials

LR, GAMMA, EPOCHS = (f"algorithm.params.{name}" for name in ("lr", "gamma", "num_epochs"))
SPACES = {
    "lr": {"loguniform": [1e-5, 1e-2]},
    "gamma": {"uniform": [0.5, 1]},
    "num_epochs": {"randint": [1, 4]},
}
CHOICE = {"choice": [0.9, 0.99]}


def experiment(optuna: Any, params: Any = SPACES, **changes: Any) -> ExperimentConfig:
    search = optuna if isinstance(optuna, str) else {"optuna": optuna}
    content = {
        "name": "run",
        "env": {"id": "x"},
        "algorithm": {"name": "PPO", "params": params},
        "tune": {"num_samples": 3, "search": search},
    }
    return validate_config({**content, **changes})


def test_the_name_alone_is_short_for_every_default() -> None:
    assert experiment("optuna") == experiment({})
    settings = experiment("optuna").tune.search.optuna
    assert (settings.sampler, settings.multivariate, settings.seed) == ("tpe", True, None)


@pytest.mark.parametrize(
    ("optuna", "params", "part"),
    [
        ({}, {"lr": {"grid_search": [1e-3]}}, f"cannot search grids: {LR}. Make them choice"),
        ({}, {}, "has nothing to search"),
        ({"sampler": "cmaes"}, {**SPACES, "gamma": CHOICE}, f"found choices: {GAMMA}. Use tpe"),
        ({"sampler": "cmaes"}, {"lr": SPACES["lr"]}, "needs at least two numbers"),
        ({"sampler": "cmaes", "multivariate": False}, SPACES, "must be true with cmaes"),
        ({"sampler": "tp"}, SPACES, "tune.search.optuna.sampler = 'tp'"),
        ({"points_to_evaluate": [{}] * 4}, SPACES, "has 4 points for num_samples = 3"),
        (
            {"points_to_evaluate": [{"algorithm.params.l": 1}]},
            SPACES,
            f"points_to_evaluate.0.algorithm.params.l = 1 is the value of a key that Optuna does "
            f"not search. Did you mean '{LR}'?",
        ),
        ({"points_to_evaluate": [{"seed": 1}]}, SPACES, "points_to_evaluate.0.seed = 1"),
        ({"points_to_evaluate": [{LR: 0.1}]}, SPACES, "is not in the search space"),
        ({"points_to_evaluate": [{EPOCHS: 4}]}, SPACES, "is not in the search space"),
        ({"points_to_evaluate": [{EPOCHS: 1.5}]}, SPACES, "is not in the search space"),
        ({"points_to_evaluate": [{EPOCHS: True}]}, SPACES, "is not in the search space"),
        ({"points_to_evaluate": [{GAMMA: 0.95}]}, {"gamma": CHOICE}, "is not in the search space"),
    ],
)
def test_what_optuna_cannot_do_is_refused(optuna: Any, params: Any, part: str) -> None:
    with pytest.raises(ConfigError) as raised:
        experiment(optuna, params)
    assert part in str(raised.value)


def test_the_seed_alone_is_nothing_to_search() -> None:
    with pytest.raises(ConfigError, match="has nothing to search"):
        experiment({}, {}, seed={"randint": [0, 100]})


def test_points_stand_where_the_first_trials_are_planned() -> None:
    points = [{LR: 1e-3, EPOCHS: 3}, {GAMMA: 1}]
    trials = sample_trials(experiment({"points_to_evaluate": points}))
    assert len(trials) == 3
    assert trials[0].params[LR] == 1e-3
    assert trials[0].params[EPOCHS] == 3
    assert trials[1].params[GAMMA] == 1
    assert trials[2].params == sample_trials(experiment({}))[2].params


def test_a_trial_with_its_values_searches_no_more() -> None:
    config = experiment({"points_to_evaluate": [{LR: 1e-3}]})
    (first, *_) = sample_trials(config)
    assert resolve_trial(config, first).tune.search is None
    assert resolve_trial(config, first).algorithm.params["lr"] == 1e-3
