"""Playing in another environment than the one that was trained in: `--set env.kwargs.size=16`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from empo_rllib.config.load import apply_override, validate_config
from empo_rllib.config.schema import EnvConfig, ExperimentConfig
from empo_rllib.config.search_space import find_search_spaces
from empo_rllib.envs.registry import make_env
from empo_rllib.errors import ConfigError, nearest

if TYPE_CHECKING:
    from pettingzoo import ParallelEnv

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


def env_maker(env: EnvConfig) -> Callable[..., ParallelEnv]:
    """Returns what makes the environment; arguments given to it go before the experiment's."""
    return partial(make_env, env.id, env.num_agents, **env.kwargs)


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
