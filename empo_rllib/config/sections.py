"""The sections of the experiment file as typed models: every key, its default, rule and meaning."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from empo_rllib.config.algorithms import AlgorithmName
from empo_rllib.config.fields import (
    ClassPath,
    Count,
    Number,
    PlainName,
    Positive,
    Seconds,
    Section,
    Text,
    allow_also,
    word_or_section,
)
from empo_rllib.config.params import check_params_of_all, normalize_params
from empo_rllib.config.problems import broken_rule, raise_problems
from empo_rllib.config.search_space import (
    Searchable,
    check_open_mapping,
    is_number,
    options_of,
)


class EnvConfig(Section):
    """The environment."""

    id: Text = Field(
        description="MultiGrid id, PettingZoo registry id (sisl/pursuit-v5) or module "
        "(pettingzoo.sisl.pursuit_v5), Gymnasium id, or package.module:factory"
    )
    num_agents: Positive | None = Field(
        default=None, description="number of agents; null keeps the env's own"
    )
    kwargs: dict[str, Any] = Field(
        default={}, description="arguments of the env; may be search spaces"
    )
    allow_infinite_observations: bool = Field(
        default=False,
        description="accept infinity in observations; NaN always ends the trial",
    )
    drop_texts: bool = Field(
        default=False,
        description="leave out texts of observations that no network here reads",
    )
    masks_in_infos: bool = Field(
        default=False,
        description="put the action_mask in agents' infos into their observations, so that "
        "policies obey it; one in observations is obeyed in any case",
    )
    team_reward: Literal["sum", "mean"] | None = Field(
        default=None,
        description="pay every agent what the team earns, also after it left; null: what it earns "
        "itself; docs/algorithms.md",
    )

    @field_validator("kwargs")
    @classmethod
    def _check_kwargs(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        if "num_agents" in kwargs:
            raise broken_rule(" must not hold num_agents: use env.num_agents.")
        check_open_mapping(kwargs)
        return kwargs


class PolicyConfig(Section):
    """One policy; the name alone is short for `{policy: name}`."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: allow_also(schema, {"type": "string"})
    )

    policy: PlainName = Field(description="name of the policy; several agents may share one")
    train: bool = Field(default=True, description="false freezes the policy")
    checkpoint: Text | None = Field(
        default=None,
        description="run folder, trial or checkpoint whose policy of this name to start from",
    )

    @model_validator(mode="before")
    @classmethod
    def _expand_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"policy": value}
        if not isinstance(value, dict | PolicyConfig):
            raise broken_rule(" must be a policy's name or {policy, train, checkpoint}.")
        return value


Policies = Annotated[
    Annotated[Literal["independent", "shared"], Tag("word")]
    | Annotated[dict[str, PolicyConfig], Tag("section")],
    Discriminator(word_or_section),
]


class AlgorithmConfig(Section):
    """The learning algorithm."""

    name: Annotated[AlgorithmName, Searchable()] = Field(description="RLlib's algorithm")
    params: dict[str, Any] = Field(
        default={},
        description="parameters of RLlib's AlgorithmConfig; one not given keeps RLlib's default; "
        "each may be a search space",
    )
    callbacks: list[ClassPath] = Field(
        default=[],
        description="subclasses of empo_rllib.SampleCallback or of RLlib's RLlibCallback, as "
        "package.module:Class; what they log are columns custom/<name>",
    )

    @field_validator("params")
    @classmethod
    def _check_params(cls, params: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "name" not in info.data:  # reported at algorithm.name
            return params
        algorithms = options_of(info.data["name"])
        raise_problems(check_params_of_all(algorithms, params))
        return normalize_params(algorithms, params)

    @property
    def names(self) -> list[str]:
        """The algorithms that trials may have."""
        return options_of(self.name)


class ModelConfig(Section):
    """The neural networks; every value may be a search space."""

    class_: Annotated[ClassPath | None, Searchable()] = Field(
        default=None,
        alias="class",
        description="your RLModule as package.module:Class; null: the default",
    )
    hidden_sizes: Annotated[list[Positive], Searchable()] = Field(
        default=[64, 64], description="widths of the hidden layers"
    )
    shared_trunk: Annotated[bool, Searchable()] = Field(
        default=False, description="actor and critic share the hidden layers"
    )
    conv_filters: Annotated[
        list[Annotated[list[Positive], Field(min_length=3, max_length=3)]] | None, Searchable()
    ] = Field(
        default=None,
        description="convolutions for image observations, each [channels, kernel, stride]; "
        "null fits them to the image's size",
    )
    agent_id: Annotated[bool | None, Searchable()] = Field(
        default=None,
        description="give the policy its agent's id as an input; null: where a policy serves "
        "several agents",
    )
    critic: Annotated[Literal["own", "central", "state"], Searchable()] = Field(
        default="own",
        description="PPO: what the critic sees: own: its agent's observation; central: all "
        "agents' observations (MAPPO); state: the environment's state(); docs/algorithms.md",
    )
    value_norm: Annotated[bool, Searchable()] = Field(
        default=False,
        description="PPO: divide value targets by their running deviation (PopArt), for returns "
        "far from 1; docs/algorithms.md",
    )
    memory: Annotated[Literal["none", "gru", "lstm"], Searchable()] = Field(
        default="none",
        description="PPO: what actor and critic remember their episode with; docs/algorithms.md",
    )
    memory_size: Annotated[Positive, Searchable()] = Field(
        default=64, description="numbers that each of them remembers"
    )
    max_seq_len: Annotated[Positive, Searchable()] = Field(
        default=20,
        description="steps in a row that a policy with a memory learns from, also your own",
    )
    kwargs: dict[str, Any] = Field(default={}, description="model_config of your own class")

    @field_validator("kwargs")
    @classmethod
    def _check_kwargs(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        check_open_mapping(kwargs)
        return kwargs


class ResourcesConfig(Section):
    """What one trial runs on."""

    num_env_runners: Count = Field(
        default=0, description="env runner processes; 0 samples in the trial's own process"
    )
    num_envs_per_env_runner: Positive = Field(
        default=40, description="envs that one env runner steps"
    )
    num_learners: Count = Field(
        default=0, description="learner processes; 0 learns in the trial's own process"
    )
    num_gpus_per_learner: Literal["auto"] | Annotated[Number, Field(ge=0)] = Field(
        default="auto",
        description="GPUs of each learner; auto takes one where it should be faster than a CPU",
    )
    sampler: Literal["auto", "batched", "python", "rllib"] = Field(
        default="auto",
        description="auto: the fastest that fits; batched: MultiGrid as array kernels; python: "
        "Python envs; both return arrays to the fast learner; rllib: RLlib's own path",
    )

    @field_validator("num_gpus_per_learner", mode="before")
    @classmethod
    def _check_gpus(cls, value: Any) -> Any:
        if value != "auto" and not (is_number(value) and value >= 0):
            raise broken_rule(" must be auto or a number of at least 0.")
        return value


class StopConfig(Section):
    """When a trial ends: whichever comes first. A limit that is null does not apply."""

    env_steps: Positive | None = Field(
        default=200_000, description="sampled env steps over the run's life"
    )
    episodes: Positive | None = Field(
        default=None, description="finished episodes over the run's life"
    )
    episode_return_mean: Number | None = Field(
        default=None,
        description="mean return to reach, summed over agents, in two windows of episodes one "
        "after the other (algorithm.params.metrics_num_episodes_for_smoothing, 100, each)",
    )
    time_s: Seconds | None = Field(
        default=None, description="training time over all sessions, in seconds"
    )

    @model_validator(mode="after")
    def _check_any(self) -> StopConfig:
        if all(value is None for value in self.model_dump().values()):
            keys = ", ".join(type(self).model_fields)
            raise broken_rule(f" never stops: set at least one of {keys}.")
        return self


class CheckpointConfig(Section):
    """When training is saved."""

    frequency: Positive = Field(default=10, description="training iterations between checkpoints")
    num_to_keep: Positive = Field(
        default=2,
        description="newest checkpoints kept per trial; the best by tune.metric stays, too",
    )
    grace_s: Seconds = Field(
        default=60.0, description="seconds in which a signal's checkpoints must be written"
    )


class EvaluationConfig(Section):
    """Evaluation episodes between training iterations."""

    interval: Count = Field(
        default=0,
        description="training iterations between evaluations, which sample actions (DQN takes "
        "the best); 0: none",
    )
    num_episodes: Positive = Field(default=20, description="episodes of each evaluation")


class WandbConfig(Section):
    """Weights & Biases."""

    project: Text = Field(description="W&B project")
    group: Text | None = Field(default=None, description="W&B group; null: the experiment's name")
    mode: Literal["online", "offline", "disabled"] = Field(
        default="online", description="online falls back to offline without a key or network"
    )


class LoggingConfig(Section):
    """Where the curves go besides progress.csv."""

    tensorboard: bool = Field(default=True, description="write TensorBoard events")
    wandb: WandbConfig | None = Field(
        default=None, description="log to Weights & Biases; null: do not"
    )
