"""The policies of a checkpoint, ready to act: without Ray running and without reading a pickle.

A checkpoint's weights are numbers (safetensors); the networks that they belong to are built from
the experiment, as for training.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path

import gymnasium as gym
import numpy as np

from empo_rllib.acting.policies import ActingPolicy, Acts
from empo_rllib.acting.teams import ActingPolicies
from empo_rllib.algorithms.builder import build_algorithm_config
from empo_rllib.algorithms.networks import build_rl_modules
from empo_rllib.algorithms.policies import Policy, adapt, policy_mapping
from empo_rllib.algorithms.setup import open_env, set_up_trial
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.errors import CheckpointError, ConfigError
from empo_rllib.experiment.checkpoints import (
    POLICIES,
    acting_weights,
    load_weights,
    newest_intact,
    read_counters,
    read_policy,
)
from empo_rllib.experiment.run_folder import TrainedTrial

_LOG = logging.getLogger(__name__)


def load_policies(trained: TrainedTrial, config: ExperimentConfig | None = None) -> ActingPolicies:
    """Builds the networks of a checkpoint's policies and loads their weights.

    Args:
        trained: The checkpoint.
        config: Its experiment, perhaps with another environment to act in. That need not have what
            a central critic reads: acting needs no critic, and none is loaded.

    Raises:
        CheckpointError: weights are missing, damaged or of another network.
        ConfigError: the policies do not fit the environment, or the environment or a class of the
            user's is not there any more.
    """
    config = for_acting(config or trained.config)
    with contextlib.closing(open_env(config.env)) as env:
        setup = set_up_trial(config, env)
        specs, of_agent = setup.policies, policy_mapping(setup.policies)
        adapted = adapt(config, specs, env)
        adapters = {agent: adapted.observation_adapter(agent) for agent in of_agent}
    as_trained = for_acting(trained.config)
    if config.env != as_trained.env:
        _check_fit(set_up_trial(as_trained).policies, specs)
    algorithm = build_algorithm_config(setup)
    modules = build_rl_modules(algorithm, specs)
    checkpoint = _still_there(trained.checkpoint)
    env_steps = read_counters(checkpoint)["env_steps"]
    weights = {name: read_policy(checkpoint, name) for name in specs}
    by_name: dict[str, Acts] = {}
    for name, spec in specs.items():
        source = f"{checkpoint}: policy {name!r}"
        _check_numbers(weights[name], source)
        load_weights(modules[name], acting_weights(modules[name], weights[name]), source)
        by_name[name] = ActingPolicy(
            modules[name],
            spec.action_space,
            normalize_actions=algorithm.normalize_actions,
            env_steps=env_steps,
        )
    return ActingPolicies(by_name, of_agent, {a: adapt for a, adapt in adapters.items() if adapt})


def for_acting(config: ExperimentConfig) -> ExperimentConfig:
    """Returns an experiment without what only learning asks for: other critics, team rewards."""
    plain = config.model.model_copy(update={"critic": "own", "value_norm": False})
    env = config.env.model_copy(update={"team_reward": None})
    return config.model_copy(update={"model": plain, "env": env})


def _still_there(checkpoint: Path) -> Path:
    """Returns the checkpoint, or the trial's newest where training has removed it meanwhile."""
    if checkpoint.is_dir():
        return checkpoint
    newer = newest_intact(checkpoint.parent, within=POLICIES)
    if newer is None:
        raise CheckpointError(f"{checkpoint}: it was removed meanwhile, and there is no other.")
    _LOG.warning("%s: training has removed it meanwhile. Using %s.", checkpoint, newer.name)
    return newer


def _check_numbers(weights: Mapping[str, np.ndarray], source: str) -> None:
    for key, values in weights.items():
        if np.issubdtype(values.dtype, np.floating) and np.isnan(values).any():
            raise CheckpointError(
                f"{source}: {key} is not a number (NaN): the training has diverged, or the file is "
                "damaged. Take an earlier checkpoint."
            )


def _check_fit(trained: Mapping[str, Policy], wanted: Mapping[str, Policy]) -> None:
    """Refuses an environment that the trained policies cannot act in."""
    for name, policy in wanted.items():
        if name not in trained:
            raise ConfigError(
                f"--set: {policy.agents[0]!r} would be played by the policy {name!r}, which was "
                f"not trained; there are {', '.join(trained)}. Choose fewer agents."
            )
        for what in ("observation_space", "action_space"):
            before, now = getattr(trained[name], what), getattr(policy, what)
            if before != now:
                raise ConfigError(
                    f"--set: the {what} of policy {name!r} would be {_form(now)}, and it was "
                    f"trained on {_form(before)}. Choose settings that leave its spaces as they "
                    "were."
                )


def _form(space: gym.Space) -> str:
    """Describes a space in a few words: bounds fill pages."""
    if isinstance(space, gym.spaces.Dict):
        return "{" + ", ".join(f"{key}: {_form(part)}" for key, part in space.items()) + "}"
    if isinstance(space, gym.spaces.Box):
        return f"{space.dtype} {space.shape} in [{space.low.min():g}, {space.high.max():g}]"
    return repr(space)
