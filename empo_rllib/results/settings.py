"""How episodes are played: in which environment, greedily or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.load import apply_override, validate_config
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.config.search_space import find_search_spaces
from empo_rllib.config.sections import EnvConfig
from empo_rllib.errors import ConfigError, nearest

if TYPE_CHECKING:
    pass

_KEYS = [f"env.{name}" for name in EnvConfig.model_fields]


def with_settings(config: ExperimentConfig, settings: Sequence[str]) -> ExperimentConfig:
    """Returns the experiment with another environment.

    Args:
        config: an experiment without search spaces.
        settings: `env.key=value` texts, the value in YAML.

    Raises:
        ConfigError: a key is not of the environment, or a value is wrong.
    """
    if not settings:
        return config
    data = config.to_dict()
    keys = []
    for setting in settings:
        _check_key(setting)
        keys.append(apply_override(data, setting))
    changed = validate_config(data, source="the experiment that was trained", overridden=keys)
    for path, _ in find_search_spaces(changed.env.kwargs):
        raise ConfigError(
            f"--set env.kwargs.{'.'.join(map(str, path))}: is a search space; episodes are played "
            "with one value. Give one, and repeat the command for others."
        )
    return changed


def resolve_greedy(greedy: bool | None, configs: Sequence[ExperimentConfig]) -> bool:
    """Returns whether policies that play together take their most likely actions.

    Args:
        greedy: as asked for; None: only if that is how all their algorithms act. The most likely
            action of a stochastic policy may repeat for ever.
        configs: the experiments that they come from.
    """
    if greedy is None:
        return all(ALGORITHMS[config.algorithm.name].greedy for config in configs)
    return greedy


def env_of(config: ExperimentConfig) -> dict[str, Any]:
    """Returns the environment as the result files tell it."""
    env = config.env
    return {"id": env.id, "num_agents": env.num_agents, "kwargs": env.kwargs}


def _check_key(setting: str) -> None:
    key = setting.partition("=")[0].strip()
    if not key.startswith("env."):
        raise ConfigError(
            f"--set {setting}: trained policies can be played in another environment, but stay as "
            f"they are: only keys of env can be set.{nearest(key, _KEYS)}"
        )
