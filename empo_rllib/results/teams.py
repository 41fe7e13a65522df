"""Who acts for each agent: policies of one checkpoint or of several, or chance."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from empo_rllib.algorithms.policies import Policy, adapt
from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.envs.registry import make_env
from empo_rllib.errors import ConfigError
from empo_rllib.experiment.run_folder import TrainedTrial
from empo_rllib.results.policy import ActingPolicies, Memory, load_policies

if TYPE_CHECKING:
    import gymnasium as gym


class RandomPolicy:
    """Draws from an action space, every action with the same chance.

    Args:
        action_space: of one agent; where it is unbounded, Gymnasium's `sample` says how it is
            drawn from.
        seed: of the draws.
    """

    recurrent = False

    def __init__(self, action_space: gym.Space, seed: Sequence[int]) -> None:
        self._space = copy.deepcopy(action_space)
        self._space.seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))

    def act(
        self, observations: Sequence[Any], greedy: bool, memories: Sequence[Memory] = ()
    ) -> list[Any]:
        """Draws an action for each observation."""
        return [self._space.sample() for _ in observations]

    def choose(self, observations: Any, greedy: bool) -> np.ndarray:
        """Draws an action for each row of observations nested in a dict."""
        rows = next(iter(observations.values()))
        return np.array([self._space.sample() for _ in rows])


def random_team(action_spaces: Mapping[str, gym.Space], seed: int) -> ActingPolicies:
    """Returns a random policy for each agent."""
    policies = {
        agent: RandomPolicy(space, [seed, number])
        for number, (agent, space) in enumerate(action_spaces.items())
    }
    return ActingPolicies(dict(policies), {agent: agent for agent in policies}, {})


def load_team(trained: TrainedTrial, config: ExperimentConfig) -> ActingPolicies:
    """Loads a checkpoint's policies to act in `config.env`, on its plain observations.

    Args:
        trained: the checkpoint.
        config: its experiment, perhaps with another environment.

    Raises:
        CheckpointError: weights are missing, damaged or of another network.
        ConfigError: the policies do not fit the environment, or a class of the user's is gone.
    """
    if config.env != trained.config.env:
        _check_fit(set_up_trial(trained.config).policies, set_up_trial(config).policies)
    policies = load_policies(replace(trained, config=config))
    env = adapt(
        config,
        policies.specs,
        make_env(config.env.id, config.env.num_agents, **config.env.kwargs),
    )
    try:
        found = {agent: env.observation_adapter(agent) for agent in policies.of_agent}
    finally:
        env.close()
    return replace(policies, adapters={a: found_ for a, found_ in found.items() if found_})


def join_teams(parts: Mapping[str, tuple[ActingPolicies, Sequence[str]]]) -> ActingPolicies:
    """Returns a team of which each part acts for some agents.

    Args:
        parts: by a name of its own, each part and the agents that it acts for.
    """
    policies, of_agent, adapters = {}, {}, {}
    for part, (team, agents) in parts.items():
        for agent in agents:
            name = f"{part}/{team.of_agent[agent]}"
            policies[name] = team.by_name[team.of_agent[agent]]
            of_agent[agent] = name
            if agent in team.adapters:
                adapters[agent] = team.adapters[agent]
    return ActingPolicies(policies, of_agent, {}, adapters)


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
    if isinstance(space, spaces.Dict):
        return "{" + ", ".join(f"{key}: {_form(part)}" for key, part in space.items()) + "}"
    if isinstance(space, spaces.Box):
        return f"{space.dtype} {space.shape} in [{space.low.min():g}, {space.high.max():g}]"
    return repr(space)
