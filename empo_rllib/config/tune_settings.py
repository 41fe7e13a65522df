"""The section `tune` of the experiment file: how many trials, and which of them is best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator

from empo_rllib import columns
from empo_rllib.config.fields import (
    Count,
    Number,
    Positive,
    Section,
    Text,
    allow_also,
)
from empo_rllib.config.population_settings import Pb2Scheduler, PbtScheduler, ReplayScheduler
from empo_rllib.config.problems import broken_rule
from empo_rllib.config.search_settings import OptunaSearch
from empo_rllib.errors import nearest

METRICS = (
    columns.EPISODE_RETURN_MEAN,
    columns.EPISODE_LENGTH_MEAN,
    columns.SUCCESS_RATE,
    columns.ENV_STEPS_PER_S,
    f"{columns.POLICY_RETURN_MEAN}<policy>",
    f"{columns.AGENT_RETURN_MEAN}<agent>",
    f"{columns.EVALUATION}{columns.EPISODE_RETURN_MEAN}",
    f"{columns.EVALUATION}{columns.SUCCESS_RATE}",
)
"""What `tune.metric` may be; `<policy>` and `<agent>` stand for a name."""


Mode = Literal["max", "min"]


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


SCHEDULERS: dict[str, type[Section]] = {
    "asha": AshaScheduler,
    "pbt": PbtScheduler,
    "pb2": Pb2Scheduler,
    "replay": ReplayScheduler,
}
_SHORT = ("asha", "pbt", "pb2")
_FORMS = "null, fifo, asha, pbt, pb2, {asha: {..}}, {pbt: {..}}, {pb2: {..}} or {replay: run#trial}"


def _kind_of(value: Any) -> str:
    """Tells the schedulers apart by their word, key or class."""
    for kind, section in SCHEDULERS.items():
        if isinstance(value, section) or (isinstance(value, Mapping) and kind in value):
            return f"section {kind}"
    return "word"


Scheduler = Annotated[
    Annotated[Literal["fifo"], Tag("word")]
    | Annotated[AshaScheduler, Tag("section asha")]
    | Annotated[PbtScheduler, Tag("section pbt")]
    | Annotated[Pb2Scheduler, Tag("section pb2")]
    | Annotated[ReplayScheduler, Tag("section replay")],
    Discriminator(_kind_of),
]


class Objective(NamedTuple):
    """What trials are compared by, and whether a larger value is better."""

    metric: str
    mode: Mode


class TuneSettings(Section):
    """The trials."""

    num_samples: Positive = Field(
        default=1, description="rounds of the grid; a fixed seed goes up by one with each round"
    )
    metric: Text | list[Text] = Field(
        default=columns.EPISODE_RETURN_MEAN,
        description="what the best trial is chosen by, and schedulers decide by, once its window "
        "of episodes is full: " + ", ".join(METRICS) + "; or a list of several, of which the "
        "first chooses the best trial and all make the Pareto front",
    )
    mode: Mode | list[Mode] = Field(
        default="max", description="whether a larger metric is better; a list has one for each"
    )
    scheduler: Scheduler | None = Field(
        default=None,
        description="fifo (or null) runs every trial to its end; asha stops the worse ones early; "
        "pbt and pb2: members of a population copy each other and change values while they train; "
        "replay: such a schedule again. A word is short for its defaults: {asha: {}}",
        json_schema_extra=lambda schema: allow_also(schema, {"enum": list(_SHORT)}),
    )
    search: OptunaSearch | None = Field(
        default=None,
        description="who chooses values: null runs grids and draws random values; optuna, short "
        "for {optuna: {}}, learns from the results of earlier trials",
        json_schema_extra=lambda schema: allow_also(schema, {"const": "optuna"}),
    )
    max_failures: Count = Field(
        default=2, description="how often a failed trial starts again from its last checkpoint"
    )
    max_concurrent: Positive | None = Field(
        default=None, description="trials at a time; null: as many as the resources allow"
    )

    @property
    def objectives(self) -> list[Objective]:
        """All metrics with their modes; the first chooses the best trial and checkpoints."""
        metrics = [self.metric] if isinstance(self.metric, str) else self.metric
        modes = [self.mode] * len(metrics) if isinstance(self.mode, str) else self.mode
        return [Objective(metric, mode) for metric, mode in zip(metrics, modes, strict=True)]

    @property
    def objective(self) -> Objective:
        """The first of the objectives."""
        return self.objectives[0]

    @field_validator("metric", mode="before")
    @classmethod
    def _check_metrics(cls, value: Any) -> Any:
        metrics = value if isinstance(value, list) else [value]
        if not metrics or len(set(map(str, metrics))) < len(metrics):
            raise broken_rule(" must be a metric, or a list of different ones.")
        for metric in metrics:
            if not any(_names(str(metric), known) for known in METRICS):
                which = f" has {metric!r}, which" if isinstance(value, list) else ""
                raise broken_rule(
                    f"{which} is not a metric.{nearest(str(metric), METRICS)} "
                    f"There are {', '.join(METRICS)}."
                )
        return value

    @field_validator("mode", mode="before")
    @classmethod
    def _check_modes(cls, value: Any, info: ValidationInfo) -> Any:
        modes, metric = value if isinstance(value, list) else [value], info.data.get("metric")
        if not all(mode in get_args(Mode) for mode in modes):
            raise broken_rule(" must be max or min, or a list of these.")
        number = len(metric) if isinstance(metric, list) else 1
        if isinstance(value, list) and metric is not None and len(value) != number:
            raise broken_rule(
                f" must be one word, or one for each metric, of which there are {number}."
            )
        return value

    @field_validator("scheduler", mode="before")
    @classmethod
    def _expand_scheduler(cls, value: Any) -> Any:
        if isinstance(value, str) and value in _SHORT:
            return {value: {}}
        if not (value in (None, "fifo") or isinstance(value, (dict, *SCHEDULERS.values()))):
            hint = nearest(value, [*_SHORT, "fifo"]) if isinstance(value, str) else ""
            raise broken_rule(f" must be {_FORMS}.{hint}")
        if isinstance(value, dict) and len(SCHEDULERS.keys() & value.keys()) != 1:
            hint = nearest(next(map(str, value), ""), SCHEDULERS)
            raise broken_rule(f" must be {_FORMS}.{hint}")
        return value

    @field_validator("search", mode="before")
    @classmethod
    def _expand_optuna(cls, value: Any) -> Any:
        if value == "optuna":
            return {"optuna": {}}
        if not (value is None or isinstance(value, dict | OptunaSearch)):
            raise broken_rule(" must be null, optuna or {optuna: {..}}.")
        return value


def _names(metric: str, known: str) -> bool:
    """Whether `metric` is the listed one; `<policy>` and `<agent>` match any name."""
    prefix, placeholder, _ = known.partition("<")
    if not placeholder:
        return metric == known
    return metric.startswith(prefix) and metric not in (prefix, known)
