"""All that is decided about one trial before it runs, decided once."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from empo_rllib.algorithms.policies import Policy, build_policies
from empo_rllib.algorithms.sampler import Sampler, choose_sampler
from empo_rllib.algorithms.team_reward import check_team_reward
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.config.sections import EnvConfig
from empo_rllib.envs.masks import MasksInObservations
from empo_rllib.envs.registry import make_env
from empo_rllib.envs.texts import with_readable_texts
from empo_rllib.errors import EnvError

if TYPE_CHECKING:
    from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv


@dataclass(frozen=True)
class TrialSetup:
    """A trial as it was planned: a value that the driver makes and the trial's process reads.

    Attributes:
        config: the trial's experiment, free of search spaces.
        policies: which of them acts for which agent, and on which spaces, by name.
        sampler: how it samples and learns, and why.
    """

    config: ExperimentConfig
    policies: Mapping[str, Policy]
    sampler: Sampler


def set_up_trial(config: ExperimentConfig, env: Any = None) -> TrialSetup:
    """Decides what one trial runs with.

    Args:
        config: an experiment without search spaces.
        env: an instance of its PettingZoo environment, which is left open; by default one is made
            and closed.

    Raises:
        EnvError: the environment cannot be made, or its infos hold a mask of another shape.
        ConfigError: the policies do not fit its agents or spaces, or the sampler that was asked for
            does not fit.
    """
    if env is None:
        with contextlib.closing(open_env(config.env)) as made:
            return set_up_trial(config, made)
    policies = build_policies(config, env)
    sampler = choose_sampler(config, policies, env)
    check_team_reward(config, env, sampler)
    _check_masks(config, env)
    return TrialSetup(config, policies, sampler)


def _check_masks(config: ExperimentConfig, env: Any) -> None:
    """Looks at the masks of one reset: their shape is in no space."""
    if not config.env.masks_in_infos:
        return
    try:
        env.reset(seed=config.seed)
    except EnvError:
        raise
    except Exception:  # the environment's own; its trial reports it
        return


def open_env(env: EnvConfig, **kwargs: Any) -> Any:
    """Makes the PettingZoo environment of an experiment; `kwargs` override its own arguments.

    Raises:
        EnvError: it cannot be made with these arguments.
    """
    made = make_env(env.id, env.num_agents, **{**env.kwargs, **kwargs})
    made = with_readable_texts(made, drop=True) if env.drop_texts else made
    return MasksInObservations(made) if env.masks_in_infos else made


def open_checked_env(env: EnvConfig, **kwargs: Any) -> ParallelMultiAgentEnv:
    """Makes what `open_env` does, checked step by step, with observations as they are there.

    Raises:
        EnvError: it cannot be made with these arguments.
    """
    from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv

    return ParallelMultiAgentEnv(
        open_env(env, **kwargs), allow_infinite_observations=env.allow_infinite_observations
    )
