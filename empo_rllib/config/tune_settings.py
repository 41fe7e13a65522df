"""The section `tune` of the experiment file: how many trials, and which of them is best."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from empo_rllib.config import checks
from empo_rllib.config.fields import Count, Number, Positive, Section, Text
from empo_rllib.config.searchable import broken_rule

METRICS = (
    "episode_return_mean",
    "episode_length_mean",
    "success_rate",
    "env_steps_per_s",
    "policy_return_mean/<policy>",
    "agent_return_mean/<agent>",
    "evaluation/episode_return_mean",
    "evaluation/success_rate",
)
"""What `tune.metric` may be; `<policy>` and `<agent>` stand for a name."""


class AshaConfig(Section):
    """Asynchronous successive halving (ASHA, arXiv:1810.05934); its time is env steps."""

    grace_period: Positive = Field(
        default=10_000, description="env steps that every trial gets before it may be stopped"
    )
    reduction_factor: Annotated[Number, Field(gt=1)] = Field(
        default=3.0, description="at each rung one trial in so many goes on"
    )
    max_t: Positive | None = Field(
        default=None, description="env steps of the last rung; null: stop.env_steps"
    )


class AshaScheduler(Section):
    """ASHA with its options; `asha` alone is short for `{asha: {}}`."""

    asha: AshaConfig = Field(description="options of ASHA")


Scheduler = Annotated[
    Annotated[Literal["fifo"], Tag("word")] | Annotated[AshaScheduler, Tag("section")],
    Discriminator(checks.word_or_section),
]


class TuneSettings(Section):
    """The trials."""

    num_samples: Positive = Field(
        default=1, description="rounds of the grid; a fixed seed goes up by one with each round"
    )
    metric: Text = Field(
        default="episode_return_mean",
        description="what the best trial is chosen by, and ASHA decides by, once its window of "
        "episodes is full: " + ", ".join(METRICS),
    )
    mode: Literal["max", "min"] = Field(
        default="max", description="whether a larger metric is better"
    )
    scheduler: Scheduler | None = Field(
        default=None,
        description="fifo (or null) runs every trial to its end; asha, short for {asha: {}}, stops "
        "the worse ones early",
        json_schema_extra=lambda schema: checks.allow_also(schema, {"const": "asha"}),
    )
    search: None = Field(
        default=None, description="search algorithm; null draws grids and random values"
    )
    max_failures: Count = Field(
        default=2, description="how often a failed trial starts again from its last checkpoint"
    )
    max_concurrent: Positive | None = Field(
        default=None, description="trials at a time; null: as many as the resources allow"
    )

    @field_validator("metric")
    @classmethod
    def _check_metric(cls, metric: str) -> str:
        checks.check_metric_name(metric, METRICS)
        return metric

    @field_validator("scheduler", mode="before")
    @classmethod
    def _expand_asha(cls, value: Any) -> Any:
        if value == "asha":
            return {"asha": {}}
        if not (value in (None, "fifo") or isinstance(value, dict | AshaScheduler)):
            raise broken_rule(" must be null, fifo, asha or {asha: {..}}.")
        return value
