"""`tune.scheduler: pbt | pb2`: what a population can mutate, and what it refuses by name."""

from __future__ import annotations

from typing import Any

import pytest

from empo_rllib.config.load import validate_config
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.errors import ConfigError
from empo_rllib.trials import resolve_trial, sample_trials

SPACES = {"lr": {"loguniform": [1e-5, 1e-2]}}


def experiment(
    scheduler: Any, params: Any = SPACES, tune: Any = None, **changes: Any
) -> ExperimentConfig:
    content = {
        "name": "run",
        "env": {"id": "x"},
        "algorithm": {"name": "PPO", "params": params},
        "tune": {"num_samples": 4, "scheduler": scheduler, **(tune or {})},
    }
    return validate_config({**content, **changes})


@pytest.mark.parametrize("word", ["pbt", "pb2"])
def test_the_name_alone_is_short_for_every_default(word: str) -> None:
    assert experiment(word) == experiment({word: {}})


def test_members_are_trials_of_their_own() -> None:
    config = experiment("pbt", seed={"choice": [1, 2]})
    trials = [resolve_trial(config, spec) for spec in sample_trials(config)]
    assert len({trial.algorithm.params["lr"] for trial in trials}) == 4
    assert {trial.tune.scheduler for trial in trials} == {None}


@pytest.mark.parametrize(
    ("scheduler", "changes", "part"),
    [
        ("pbt", {"tune": {"num_samples": 1}}, "tune.num_samples = 1 is the size of the population"),
        ("pbt", {"tune": {"max_concurrent": 2}}, "tune.max_concurrent = 2 must be null with pbt"),
        ("pb2", {"tune": {"search": "optuna"}}, "must be null with pb2, which chooses values"),
        ("pb2", {"params": {}}, "'pb2' has nothing to mutate: give one of algorithm.params"),
        (
            "pbt",
            {"params": {**SPACES, "use_critic": {"choice": [True, False]}}},
            "'pbt' cannot mutate algorithm.params.use_critic during training. Give it one value.",
        ),
        (
            "pbt",
            {"model": {"hidden_sizes": {"choice": [[4], [8]]}}},
            "cannot mutate model.hidden_sizes",
        ),
        ("pbt", {"env": {"id": "x", "kwargs": {"n": {"randint": [1, 3]}}}}, "env.kwargs.n"),
        ("pbt", {"algorithm": {"name": "SAC"}}, "'pbt' cannot train SAC. It trains PPO."),
        ("pbt", {"params": {"gamma": {"grid_search": [0.9]}}}, "cannot mutate a grid"),
        ("pb2", {"params": {"gamma": {"choice": [0.9, 0.99]}}}, "models numbers, no choices"),
        ("pbt", {"params": {"grad_clip": {"choice": [None, 1.0]}}}, "mutates numbers only"),
        (
            {"pbt": {"perturbation_interval": 300_000}},
            {},
            "tune.scheduler.pbt.perturbation_interval = 300000 must be below stop.env_steps",
        ),
        ({"pbt": {"quantile": 0.3}}, {}, "unknown key. Did you mean 'quantile_fraction'?"),
        ({"pb2": {"resample_probability": 0.3}}, {}, "tune.scheduler.pb2.resample_probability"),
        ({"pbtt": {}}, {}, "Did you mean 'pbt'?"),
        ({"pbt": {}, "asha": {}}, {}, "must be null, fifo, asha, pbt, pb2"),
        (
            "pbt",
            {
                "params": {
                    "train_batch_size_per_learner": {"choice": [4000, 8000]},
                    "rollout_fragment_length": 100,
                }
            },
            "Set that to auto",
        ),
    ],
)
def test_what_is_no_population_is_refused_by_name(
    scheduler: Any, changes: dict[str, Any], part: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        experiment(scheduler, **changes)
    assert part in str(refused.value)
