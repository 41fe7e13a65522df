"""The experiment file as one typed model.

It and its sections hold the only defaults of the package. They raise pydantic's `ValidationError`;
`load_config` and `validate_config` turn that into one readable `ConfigError`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator

from empo_rllib import columns
from empo_rllib.config.fields import PlainName, Section, Seed, Text
from empo_rllib.config.population_settings import ReplayScheduler, population_problems
from empo_rllib.config.problems import Problem, broken_rule, raise_problems
from empo_rllib.config.search_settings import search_problems
from empo_rllib.config.search_space import (
    Path,
    Searchable,
    condition_problems,
    leaves,
    open_values,
)
from empo_rllib.config.sections import (
    AlgorithmConfig,
    CheckpointConfig,
    EnvConfig,
    EvaluationConfig,
    LoggingConfig,
    ModelConfig,
    Policies,
    PolicyConfig,
    ResourcesConfig,
    StopConfig,
)
from empo_rllib.config.tune_settings import AshaScheduler, TuneSettings
from empo_rllib.config.yaml_text import render_yaml
from empo_rllib.errors import nearest

MAX_TRIALS = 10_000


class ExperimentConfig(Section):
    """A whole experiment: what the file holds, with every default filled in."""

    name: PlainName = Field(description="folder of the run under storage_path")
    seed: Annotated[Seed, Searchable()] = Field(
        default=0, description="seed of everything random; may be a search space"
    )
    storage_path: Text = Field(
        default="results",
        description="path or URI that all nodes share; relative to the working folder",
    )
    env: EnvConfig = Field(description="the environment")
    policies: Policies = Field(
        default="independent",
        description="independent: one per agent; shared: one for all; or {agent id or pattern: "
        "policy}, where exact ids come before patterns and the first pattern wins",
    )
    algorithm: AlgorithmConfig = Field(description="the learning algorithm")
    model: ModelConfig = Field(default=ModelConfig(), description="the neural networks")
    resources: ResourcesConfig = Field(
        default=ResourcesConfig(), description="what one trial runs on"
    )
    stop: StopConfig = Field(default=StopConfig(), description="when a trial ends")
    tune: TuneSettings = Field(default=TuneSettings(), description="the trials")
    checkpoint: CheckpointConfig = Field(default=CheckpointConfig(), description="when to save")
    evaluation: EvaluationConfig = Field(
        default=EvaluationConfig(), description="evaluation episodes"
    )
    logging: LoggingConfig = Field(default=LoggingConfig(), description="where the curves go")

    @field_validator("policies", mode="before")
    @classmethod
    def _check_policies_form(cls, value: Any) -> Any:
        words = ("independent", "shared")
        if value in words or (isinstance(value, dict) and value):
            return value
        raise broken_rule(
            " must be independent, shared or {agent id or pattern: policy}."
            f"{nearest(str(value), words)}"
        )

    @field_validator("policies")
    @classmethod
    def _check_policies(cls, policies: Policies) -> Policies:
        if not isinstance(policies, str):
            _check_entries(policies)
        return policies

    @field_validator("tune")
    @classmethod
    def _check_tune(cls, tune: TuneSettings, info: ValidationInfo) -> TuneSettings:
        problems = _scheduler_problems(tune, info.data.get("stop")) + _objective_problems(tune)
        roots = ("seed", "env", "algorithm", "model")
        if all(root in info.data for root in roots):
            parts = {root: _plain(info.data[root]) for root in roots}
            spaces = open_values(parts)
            problems += _repetition_problems(tune, spaces) + _number_problems(tune, spaces)
            problems += search_problems(tune.search, tune.num_samples, spaces)
            algorithm, stop = info.data["algorithm"], info.data.get("stop")
            env_steps = stop.env_steps if stop else None
            problems += population_problems(
                tune, algorithm.names, algorithm.params, spaces, env_steps
            )
        raise_problems(problems)
        return tune

    @field_validator("evaluation")
    @classmethod
    def _check_evaluation(
        cls, evaluation: EvaluationConfig, info: ValidationInfo
    ) -> EvaluationConfig:
        tune = info.data.get("tune")
        if tune is not None:
            raise_problems(_evaluation_problems(evaluation, tune))
        return evaluation

    @model_validator(mode="after")
    def _check_conditions(self) -> ExperimentConfig:
        raise_problems(condition_problems(open_values(self.to_dict())))
        return self

    def to_dict(self) -> dict[str, Any]:
        """Returns the experiment as plain data with the file's keys, defaults included."""
        data: dict[str, Any] = _plain(self)
        return data

    def to_yaml(self) -> str:
        """Returns the experiment as an experiment file that loads back equal."""
        return render_yaml(self.to_dict())


def differences(old: ExperimentConfig, new: ExperimentConfig) -> list[str]:
    """Returns the dotted keys whose values differ, in the order of the file."""
    before, after = (dict(leaves(config.to_dict())) for config in (old, new))
    missing = object()
    keys = [*before, *(key for key in after if key not in before)]
    return [key for key in keys if before.get(key, missing) != after.get(key, missing)]


def _plain(value: Any) -> Any:
    """Like `model_dump`, which warns when an open value stands in a typed field."""
    return (
        value.model_dump(by_alias=True, warnings=False) if isinstance(value, BaseModel) else value
    )


def _check_entries(policies: Mapping[str, PolicyConfig]) -> None:
    """Refuses a policy that two keys describe differently, and a mapping that trains none."""
    first: dict[str, str] = {}
    for key, entry in policies.items():
        other = first.setdefault(entry.policy, key)
        if entry != policies[other]:
            raise broken_rule(
                f" describes the policy {entry.policy!r} twice, at {other!r} and {key!r}, with "
                "different train or checkpoint. Make them equal."
            )
    if not any(entry.train for entry in policies.values()):
        raise broken_rule(" trains no policy: give at least one train: true.")


def _scheduler_problems(tune: TuneSettings, stop: StopConfig | None) -> list[Problem]:
    """Returns what keeps ASHA from having rungs between `grace_period` and its end."""
    if stop is None or not isinstance(tune.scheduler, AshaScheduler):
        return []
    asha = tune.scheduler.asha
    last, whose = (asha.max_t, "max_t") if asha.max_t else (stop.env_steps, "stop.env_steps")
    if last is None:
        rule = " must be a number of env steps where stop.env_steps is null."
        return [Problem(("scheduler", "asha", "max_t"), None, rule)]
    if asha.grace_period <= last:
        return []
    rule = f" exceeds {whose} = {last}.\n    Lower the first or raise the second."
    return [Problem(("scheduler", "asha", "grace_period"), asha.grace_period, rule)]


def _objective_problems(tune: TuneSettings) -> list[Problem]:
    """Refuses several metrics where trials have to be ranked by one."""
    if len(tune.objectives) == 1:
        return []
    if not (tune.scheduler in (None, "fifo") or isinstance(tune.scheduler, ReplayScheduler)):
        rule = " are several, and tune.scheduler compares trials by one. Set that to null."
    elif tune.search is not None and tune.search.optuna.sampler == "cmaes":
        rule = " are several, and cmaes searches by one. Set tune.search.optuna.sampler to tpe."
    else:
        return []
    return [Problem(("metric",), tune.metric, rule)]


def _repetition_problems(
    tune: TuneSettings, spaces: Mapping[Path, Mapping[str, Any]]
) -> list[Problem]:
    """Refuses several rounds of trials that would be equal to the last digit."""
    random = any("grid_search" not in space for space in spaces.values())
    if tune.num_samples == 1 or ("seed",) not in spaces or random:
        return []
    rule = (
        " would run identical trials: the seed is a grid and no value is drawn at random.\n"
        "    Set it to 1, or give more seeds in the grid."
    )
    return [Problem(("num_samples",), tune.num_samples, rule)]


def _number_problems(tune: TuneSettings, spaces: Mapping[Path, Mapping[str, Any]]) -> list[Problem]:
    """Refuses more trials than can be listed, which a few short grids are enough for."""
    grids = [space["grid_search"] for space in spaces.values() if "grid_search" in space]
    number = tune.num_samples * math.prod(map(len, grids))
    if number <= MAX_TRIALS:
        return []
    rule = f" gives {number:,} trials with the grids, and at most {MAX_TRIALS:,} can be run."
    return [Problem(("num_samples",), tune.num_samples, rule)]


def _evaluation_problems(evaluation: EvaluationConfig, tune: TuneSettings) -> list[Problem]:
    """Returns what keeps `tune.metric` from being measured."""
    evaluated = [one.metric for one in tune.objectives if one.metric.startswith(columns.EVALUATION)]
    if not evaluated or evaluation.interval > 0:
        return []
    rule = f" must be at least 1 where tune.metric is {', '.join(evaluated)}."
    return [Problem(("interval",), evaluation.interval, rule)]
