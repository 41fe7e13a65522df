"""The experiment file as one typed model.

It and its sections hold the only defaults of the package. They raise pydantic's `ValidationError`;
`load_config` and `validate_config` turn that into one readable `ConfigError`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from empo_rllib.config import checks
from empo_rllib.config.fields import PlainName, Section, Seed, Text
from empo_rllib.config.search_space import open_values
from empo_rllib.config.searchable import Searchable, raise_problems
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
    WandbConfig,
)
from empo_rllib.config.tune_settings import METRICS, AshaConfig, AshaScheduler, TuneSettings
from empo_rllib.config.yaml_text import render_yaml

__all__ = [
    "METRICS",
    "AlgorithmConfig",
    "AshaConfig",
    "AshaScheduler",
    "CheckpointConfig",
    "EnvConfig",
    "EvaluationConfig",
    "ExperimentConfig",
    "LoggingConfig",
    "ModelConfig",
    "Policies",
    "PolicyConfig",
    "ResourcesConfig",
    "StopConfig",
    "TuneSettings",
    "WandbConfig",
    "differences",
]


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
        checks.check_policies_form(value)
        return value

    @field_validator("policies")
    @classmethod
    def _check_policies(cls, policies: Policies) -> Policies:
        if not isinstance(policies, str):
            checks.check_policies(policies)
        return policies

    @field_validator("tune")
    @classmethod
    def _check_tune(cls, tune: TuneSettings, info: ValidationInfo) -> TuneSettings:
        problems = checks.scheduler_problems(tune, info.data.get("stop"))
        roots = ("seed", "env", "algorithm", "model")
        if all(root in info.data for root in roots):
            parts = {root: _plain(info.data[root]) for root in roots}
            problems += checks.repetition_problems(tune, open_values(parts))
        raise_problems(problems)
        return tune

    @field_validator("evaluation")
    @classmethod
    def _check_evaluation(
        cls, evaluation: EvaluationConfig, info: ValidationInfo
    ) -> EvaluationConfig:
        tune = info.data.get("tune")
        if tune is not None:
            raise_problems(checks.evaluation_problems(evaluation, tune))
        return evaluation

    def to_dict(self) -> dict[str, Any]:
        """Returns the experiment as plain data with the file's keys, defaults included."""
        data: dict[str, Any] = _plain(self)
        return data

    def to_yaml(self) -> str:
        """Returns the experiment as an experiment file that loads back equal."""
        return render_yaml(self.to_dict())


def differences(old: ExperimentConfig, new: ExperimentConfig) -> list[str]:
    """Returns the dotted keys whose values differ, in the order of the file."""
    before, after = (dict(checks.leaves(config.to_dict())) for config in (old, new))
    missing = object()
    keys = [*before, *(key for key in after if key not in before)]
    return [key for key in keys if before.get(key, missing) != after.get(key, missing)]


def _plain(value: Any) -> Any:
    """Like `model_dump`, which warns when an open value stands in a typed field."""
    return (
        value.model_dump(by_alias=True, warnings=False) if isinstance(value, BaseModel) else value
    )
