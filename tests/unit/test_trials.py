"""Trials: grids are products, draws stay in their bounds, and all of it repeats exactly."""

from __future__ import annotations

import math
from typing import Any

import pytest

from empo_rllib.config.load import validate_config
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.trials import TrialSpec, resolve_trial, sample_trials


def experiment(
    params: dict | None = None, num_samples: int = 1, seed: Any = 0, **changes: Any
) -> ExperimentConfig:
    data = {
        "name": "run",
        "seed": seed,
        "env": {"id": "x"},
        "algorithm": {"name": "PPO", "params": params or {}},
        "tune": {"num_samples": num_samples},
    }
    return validate_config({**data, **changes})


def test_an_experiment_without_search_spaces_is_one_trial() -> None:
    config = experiment(seed=7)
    assert sample_trials(config) == [TrialSpec("trial_00000", 7, {})]
    assert resolve_trial(config, sample_trials(config)[0]) == config


def test_samples_of_a_fixed_seed_are_seeds() -> None:
    config = experiment(seed=5, num_samples=3)
    assert [trial.seed for trial in sample_trials(config)] == [5, 6, 7]
    assert [resolve_trial(config, trial).seed for trial in sample_trials(config)] == [5, 6, 7]


def test_a_grid_is_the_product_of_its_values_repeated_for_each_sample() -> None:
    config = experiment(
        {"lr": {"grid_search": [1e-3, 1e-4]}},
        num_samples=2,
        env={"id": "x", "kwargs": {"size": {"grid_search": [5, 6, 8]}}},
    )
    trials = sample_trials(config)
    assert [trial.trial_id for trial in trials] == [f"trial_{i:05d}" for i in range(12)]
    pairs = [
        (trial.params["env.kwargs.size"], trial.params["algorithm.params.lr"]) for trial in trials
    ]
    product = [(size, lr) for size in (5, 6, 8) for lr in (1e-3, 1e-4)]
    assert pairs == product * 2
    assert [trial.seed for trial in trials] == [0] * 6 + [1] * 6


def test_a_searched_seed_is_taken_as_it_is() -> None:
    trials = sample_trials(experiment(seed={"grid_search": [3, 9]}))
    assert [(trial.seed, trial.params) for trial in trials] == [(3, {}), (9, {})]


@pytest.mark.parametrize("seed", range(5))
def test_draws_stay_in_their_bounds(seed: int) -> None:
    config = experiment(
        {
            "lr": {"loguniform": [1e-5, 1e-3]},
            "gamma": {"uniform": [0.9, 0.99]},
            "num_epochs": {"randint": [2, 5]},
            "clip_param": {"choice": [0.1, 0.2]},
        },
        num_samples=200,
        seed=seed,
    )
    params = [trial.params for trial in sample_trials(config)]
    lrs, gammas, epochs, clips = (
        [param[f"algorithm.params.{name}"] for param in params]
        for name in ("lr", "gamma", "num_epochs", "clip_param")
    )
    assert all(1e-5 <= lr <= 1e-3 for lr in lrs)
    assert all(0.9 <= gamma < 0.99 for gamma in gammas)
    assert set(epochs) == {2, 3, 4}
    assert set(clips) == {0.1, 0.2}
    assert abs(sum(map(math.log10, lrs)) / 200 + 4) < 0.2  # uniform in the logarithm
    assert {type(value) for value in (*lrs, *gammas)} == {float}
    assert {type(value) for value in epochs} == {int}


def test_the_same_experiment_always_gives_the_same_trials() -> None:
    space = {"lr": {"loguniform": [1e-5, 1e-3]}}
    first, again = (sample_trials(experiment(space, num_samples=20)) for _ in range(2))
    other = sample_trials(experiment(space, num_samples=20, seed=1))
    assert first == again
    assert [trial.params for trial in first] != [trial.params for trial in other]
    assert len({trial.params["algorithm.params.lr"] for trial in first}) == 20


def test_more_samples_keep_the_first_ones() -> None:
    space = {"lr": {"loguniform": [1e-5, 1e-3]}}
    few, many = (sample_trials(experiment(space, num_samples=n)) for n in (3, 6))
    assert many[:3] == few


def test_a_resolved_trial_has_no_search_space_left() -> None:
    config = experiment(
        {"lr": {"loguniform": [1e-5, 1e-3]}, "num_epochs": {"choice": [2.0]}},
        seed={"randint": [0, 10]},
        model={"hidden_sizes": {"choice": [[32], [64]]}, "kwargs": {"a": {"b": {"choice": [1]}}}},
        env={"id": "x", "kwargs": {"a.b": {"uniform": [1, 2]}}},
    )
    (trial,) = sample_trials(config)
    resolved = resolve_trial(config, trial)
    assert sample_trials(resolved) == [TrialSpec("trial_00000", trial.seed, {})]
    assert resolved.seed == trial.seed
    assert resolved.algorithm.params["lr"] == trial.params["algorithm.params.lr"]
    assert resolved.algorithm.params["num_epochs"] == 2
    assert resolved.model.hidden_sizes == trial.params["model.hidden_sizes"]
    assert resolved.model.kwargs == {"a": {"b": 1}}
    assert 1 <= resolved.env.kwargs["a.b"] <= 2
    assert config.env.kwargs == {"a.b": {"uniform": [1, 2]}}


def test_each_trial_of_a_grid_of_algorithms_has_its_own() -> None:
    algorithm = {
        "name": {"grid_search": ["PPO", "APPO"]},
        "params": {"lr": {"grid_search": [0.1, 0.2]}, "num_epochs": 2.0},
    }
    config = experiment(algorithm=algorithm)
    trials = sample_trials(config)
    assert [list(trial.params.values()) for trial in trials] == [
        ["PPO", 0.1],
        ["PPO", 0.2],
        ["APPO", 0.1],
        ["APPO", 0.2],
    ]
    resolved = [resolve_trial(config, trial).algorithm for trial in trials]
    assert [one.name for one in resolved] == ["PPO", "PPO", "APPO", "APPO"]
    assert resolved[3].params == {"lr": 0.2, "num_epochs": 2}
    assert validate_config(config.to_dict()) == config


OF_BOTH = {
    "name": {"choice": ["PPO", "DQN"]},
    "params": {
        "clip_param": {"uniform": [0.1, 0.4], "when": {"algorithm.name": "PPO"}},
        "n_step": {"choice": [1, 3], "when": {"algorithm.name": "DQN"}},
        "lr": {"loguniform": [1e-5, 1e-3]},
    },
}


def test_a_value_is_drawn_only_where_what_it_depends_on_was_drawn() -> None:
    config = experiment(algorithm=OF_BOTH, num_samples=30)
    for trial in sample_trials(config):
        name = trial.params["algorithm.name"]
        own, other = ("clip_param", "n_step") if name == "PPO" else ("n_step", "clip_param")
        assert trial.params.keys() == {
            "algorithm.name",
            "algorithm.params.lr",
            f"algorithm.params.{own}",
        }
        resolved = resolve_trial(config, trial).algorithm
        assert (resolved.name, other in resolved.params) == (name, False)
    assert {trial.params["algorithm.name"] for trial in sample_trials(config)} == {"PPO", "DQN"}


def test_conditions_form_chains_and_a_closed_end_closes_what_follows() -> None:
    kwargs = {
        "c": {"uniform": [0, 1], "when": {"env.kwargs.b": 1, "env.kwargs.a": "x"}},
        "b": {"choice": [1, 2], "when": {"env.kwargs.a": "x"}},
        "a": {"grid_search": ["x", "y"]},
    }
    trials = sample_trials(experiment(env={"id": "x", "kwargs": kwargs}, num_samples=20))
    found = {tuple(sorted(key[-1] for key in trial.params)) for trial in trials}
    assert found == {("a",), ("a", "b"), ("a", "b", "c")}
    for trial in trials:
        assert ("env.kwargs.c" in trial.params) == (trial.params.get("env.kwargs.b") == 1)
