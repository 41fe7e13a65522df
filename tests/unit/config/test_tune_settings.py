"""The section `tune`: its short forms and its metrics."""

from __future__ import annotations

from typing import Any

import pytest

from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.config.tune_settings import METRICS


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
