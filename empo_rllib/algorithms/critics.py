"""Critics that see more than their agents do (`model.critic`), and `model.value_norm`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym

from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.envs.vector_env import ARRAY_SPACES, ObservationLeaves
from empo_rllib.errors import ConfigError


def seen_by_central_critics(
    config: ExperimentConfig, env: Any, agents: Sequence[str]
) -> list[gym.Space] | gym.Space | None:
    """Returns what critics see: all agents' observations, the state, or None: their agent's own.

    Args:
        config: an experiment without search spaces.
        env: an instance of its PettingZoo environment, which is reset to read its state.
        agents: all that it may have.

    Raises:
        ConfigError: the critic, or the normalisation of its targets, does not fit the algorithm,
            the network, the observations or the environment.
    """
    _check_setting(config)
    if config.model.critic == "central":
        return [_observation_space(env, agent) for agent in agents]
    return _state_space(config, env) if config.model.critic == "state" else None


def check_sampler(config: ExperimentConfig, reason: str) -> None:
    """Refuses a critic that RLlib's own learner, in use for `reason`, does not train."""
    if setting := _setting(config):
        raise ConfigError(
            f"{setting} needs the sampler batched or python, and this trial gets rllib: {reason}. "
            f"Change that, or remove the setting."
        )


def _setting(config: ExperimentConfig) -> str | None:
    """Returns the setting that needs more than the plain critic."""
    model = config.model
    if model.critic != "own":
        return f"model.critic = {model.critic!r}"
    return "model.value_norm = true" if model.value_norm else None


def _check_setting(config: ExperimentConfig) -> None:
    setting = _setting(config)
    if setting is None:
        return
    algorithm, model = config.algorithm, config.model
    if ALGORITHMS[algorithm.name].critics == ("own",):
        able = ", ".join(name for name, row in ALGORITHMS.items() if len(row.critics) > 1)
        raise ConfigError(
            f"{setting} is for {able}, and algorithm.name is {algorithm.name!r}. Change either."
        )
    if model.class_ is not None:
        raise ConfigError(
            f"{setting} has no effect: model.class = {model.class_!r} has a critic of its own. "
            "Remove one of them."
        )
    if algorithm.params.get("use_critic") is False:
        raise ConfigError(
            f"{setting} has no effect: algorithm.params.use_critic = False trains no critic. "
            "Remove one of them."
        )
    if model.critic == "central" and not model.hidden_sizes:
        raise ConfigError(
            f"{setting} needs a hidden layer: model.hidden_sizes = [] has none. Give it a width."
        )
    if model.critic != "own" and model.shared_trunk:
        raise ConfigError(
            f"{setting} does not fit model.shared_trunk = true: actor and critic do not read the "
            "same, so they share no layers. Set shared_trunk to false."
        )


def _observation_space(env: Any, agent: str) -> gym.Space:
    space = env.observation_space(agent)
    wrong = ObservationLeaves(space).kinds - set(ARRAY_SPACES)
    if wrong:
        kinds = ", ".join(sorted(kind.__name__ for kind in wrong))
        raise ConfigError(
            f"model.critic = 'central' puts the observations of all agents side by side, and that "
            f"of {agent!r} holds a {kinds}, which has no fixed size. Use model.critic: own."
        )
    return space


def _state_space(config: ExperimentConfig, env: Any) -> gym.Space:
    """Returns the space of the environment's `state()`, and sees that it is of it."""
    setting = f"model.critic = 'state': {config.env.id}"
    advice = "Use model.critic: central, which reads all agents' observations."
    space = getattr(env, "state_space", None)
    if not isinstance(space, gym.Space):
        raise ConfigError(f"{setting} has no state_space, and so no state() to read. {advice}")
    if wrong := ObservationLeaves(space).kinds - set(ARRAY_SPACES):
        kinds = ", ".join(sorted(kind.__name__ for kind in wrong))
        raise ConfigError(f"{setting} has a {kinds} in its state_space. {advice}")
    try:
        env.reset(seed=config.seed)
        env.state()
    except Exception as error:  # whatever the environment raises
        raise ConfigError(f"{setting} raised in state(): {error!r}. {advice}") from error
    return space
