"""The section `tune`: its short forms and its metrics."""

from __future__ import annotations

from typing import Any

import pytest

from empo_rllib.config.load import validate_config
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.config.tune_settings import METRICS
from empo_rllib.errors import ConfigError


def config(**changes: Any) -> ExperimentConfig:
    minimal = {"name": "run", "env": {"id": "x"}, "algorithm": {"name": "PPO"}}
    return ExperimentConfig.model_validate({**minimal, **changes})


def test_asha_may_be_named_alone() -> None:
    assert config(tune={"scheduler": "asha"}) == config(tune={"scheduler": {"asha": {}}})
    assert config(tune={"scheduler": "fifo"}).tune.scheduler == "fifo"


@pytest.mark.parametrize("metric", METRICS)
def test_every_listed_metric_is_accepted(metric: str) -> None:
    metric = metric.replace("<policy>", "walker").replace("<agent>", "agent_0")
    experiment = config(tune={"metric": metric}, evaluation={"interval": 5})
    assert experiment.tune.metric == metric


def test_several_metrics_have_one_mode_or_one_each() -> None:
    metrics = ["episode_return_mean", "env_steps_per_s"]
    both = config(tune={"metric": metrics, "mode": "max"}).tune
    assert both.objectives == [(metrics[0], "max"), (metrics[1], "max")]
    assert both.objective == (metrics[0], "max")
    each = config(tune={"metric": metrics, "mode": ["max", "min"]}).tune
    assert each.objectives == [(metrics[0], "max"), (metrics[1], "min")]
    assert config().tune.objectives == [("episode_return_mean", "max")]


@pytest.mark.parametrize(
    ("tune", "part"),
    [
        ({"metric": []}, "must be a metric, or a list of different ones"),
        ({"metric": ["success_rate", "success_rate"]}, "a list of different ones"),
        ({"metric": ["success_rate", "sucess"]}, "has 'sucess', which is not a metric. Did you"),
        ({"metric": 3}, "is not a metric"),
        ({"metric": ["success_rate", "env_steps_per_s"], "mode": ["max"]}, "there are 2"),
        ({"mode": ["max", "min"]}, "there are 1"),
        ({"mode": "maximum"}, "must be max or min"),
        ({"metric": ["success_rate", "env_steps_per_s"], "scheduler": "asha"}, "Set that to null"),
        (
            {"metric": ["success_rate", "env_steps_per_s"], "scheduler": "pbt", "num_samples": 4},
            "Set that to null",
        ),
        (
            {
                "metric": ["success_rate", "env_steps_per_s"],
                "search": {"optuna": {"sampler": "cmaes"}},
            },
            "Set tune.search.optuna.sampler to tpe",
        ),
        (
            {"metric": ["success_rate", "evaluation/success_rate"]},
            "must be at least 1 where tune.metric is evaluation/success_rate",
        ),
    ],
)
def test_metrics_that_cannot_be_are_refused(tune: dict[str, Any], part: str) -> None:
    minimal = {"name": "run", "env": {"id": "x"}, "algorithm": {"name": "PPO"}}
    with pytest.raises(ConfigError) as raised:
        validate_config({**minimal, "tune": tune})
    assert part in str(raised.value)
