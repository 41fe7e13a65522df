"""Which experiment an examination is about: that of a file, or PPO with every default."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from empo_rllib.config.load import apply_override, load_config, validate_config
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.envs.registry import check_env_id
from empo_rllib.errors import ConfigError
from empo_rllib.trials import resolve_trial, sample_trials


def experiment_of(
    env_id: str | None, file: Path | None, num_agents: int | None, overrides: Sequence[str]
) -> ExperimentConfig:
    """Returns the experiment to examine, free of search spaces (those of its first trial).

    Args:
        env_id: the environment, or
        file: an experiment file.
        num_agents: goes before what the file says.
        overrides: `key=value` texts for any key of an experiment.

    Raises:
        ConfigError: not exactly one of `env_id` and `file`, or a mistake in the others.
    """
    if (env_id is None) == (file is None):
        raise ConfigError("doctor takes an environment, or --config with an experiment file.")
    count = [] if num_agents is None else [f"env.num_agents={num_agents}"]
    if file is not None:
        config = load_config(file, [*overrides, *count])
    else:
        config = _experiment_of_id(env_id, [*overrides, *count])
    check_env_id(config.env.id)
    return resolve_trial(config, sample_trials(config)[0])


def _experiment_of_id(env_id: str | None, overrides: Sequence[str]) -> ExperimentConfig:
    data: dict[str, Any] = {
        "name": "doctor",
        "env": {"id": env_id},
        "algorithm": {"name": "PPO"},
    }
    keys = [apply_override(data, override) for override in overrides]
    return validate_config(data, source="doctor", overridden=keys)
