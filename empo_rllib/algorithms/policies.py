"""Which policy acts for which agent, and on which spaces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from empo_rllib.algorithms.critics import seen_by_central_critics
from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.fields import PLAIN_NAME
from empo_rllib.config.policies import PolicyAssignment, resolve_policies
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.envs.actions import adapt_action
from empo_rllib.envs.adapting import adapt_observation, agents_of, central_critic_space
from empo_rllib.envs.masks import legal_actions
from empo_rllib.envs.space_sizes import empty_part, too_many_categories
from empo_rllib.envs.texts import text_parts
from empo_rllib.errors import ConfigError, EnvError

if TYPE_CHECKING:
    from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv


@dataclass(frozen=True)
class Policy:
    """One policy: who it acts for, whether it is trained, and where it starts from.

    The spaces are those that the RLModule sees, with the agent's id where it is an input;
    `critic_space` that of its critic where that is another one. A frozen policy needs none.
    """

    name: str
    agents: tuple[str, ...]
    train: bool
    checkpoint: str | None
    agent_id_input: bool
    observation_space: gym.Space
    action_space: gym.Space
    critic_space: gym.Space | None = None


def build_policies(config: ExperimentConfig, env: Any) -> dict[str, Policy]:
    """Returns the policies of an experiment by name.

    Args:
        config: an experiment without search spaces.
        env: an instance of its PettingZoo environment.

    Raises:
        EnvError: an observation has no form that the policies could read.
        ConfigError: the mapping leaves an agent out, names one that does not exist, or gives
            one policy to agents with different spaces.
    """
    agents = agents_of(env)
    table = resolve_policies(config.policies, agents)
    _check_names(table)
    for agent in agents:
        _check_sizes(config, env, agent)
    built = {}
    _refuse_texts(config, env, agents)
    _check_masks(config, env, agents)
    seen_by_critics = seen_by_central_critics(config, env, agents)
    for name, entry in table.items():
        with_id = _agent_id_input(config, len(entry.agents))
        flat = trains_rllib_module(config)
        seen = {
            a: adapt_observation(
                _space(env, "observation_space", a), a, agents, with_id=with_id, flat=flat
            )[0]
            for a in entry.agents
        }
        built[name] = Policy(
            name=name,
            agents=tuple(entry.agents),
            train=entry.train,
            checkpoint=entry.checkpoint,
            agent_id_input=with_id,
            observation_space=_common(name, entry.agents, seen),
            action_space=_common(name, entry.agents, {a: _action_space(env, a) for a in seen}),
            critic_space=_critic_space(entry, seen_by_critics, len(agents)),
        )
    _check_action_spaces(config, built, env)
    return built


def adapter_options(config: ExperimentConfig, policies: Mapping[str, Policy]) -> dict[str, Any]:
    """Returns how `ParallelMultiAgentEnv` must show observations for these policies."""
    with_id = {agent for p in policies.values() if p.agent_id_input for agent in p.agents}
    return {
        "agent_id_for": with_id,
        "flat": trains_rllib_module(config),
        "allow_infinite_observations": config.env.allow_infinite_observations,
    }


def adapt(
    config: ExperimentConfig, policies: Mapping[str, Policy], env: Any
) -> ParallelMultiAgentEnv:
    """Returns a PettingZoo `ParallelEnv` as the `MultiAgentEnv` that `policies` act in."""
    from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv

    return ParallelMultiAgentEnv(env, **adapter_options(config, policies))


def trains_rllib_module(config: ExperimentConfig) -> bool:
    """Whether policies have RLlib's own network, which reads flat observations only."""
    default = ALGORITHMS[config.algorithm.name].rl_module_class
    return config.model.class_ is None and default is None


def policy_mapping(policies: Mapping[str, Policy]) -> dict[str, str]:
    """Returns the policy name of every agent."""
    return {agent: policy.name for policy in policies.values() for agent in policy.agents}


def _agent_id_input(config: ExperimentConfig, num_agents: int) -> bool:
    if config.model.agent_id is None:
        return num_agents > 1
    return config.model.agent_id


def _critic_space(
    entry: PolicyAssignment, seen: Sequence[gym.Space] | gym.Space | None, num_agents: int
) -> gym.Space | None:
    """Returns what the critic of a policy reads; None: its actor's observation, or it is frozen."""
    if seen is None or not entry.train:
        return None
    return central_critic_space(seen, num_agents, with_id=len(entry.agents) > 1)


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not PLAIN_NAME.fullmatch(name):
            raise ConfigError(
                f"policies: the agent {name!r} cannot give its name to a policy (letters, digits, "
                "'.', '_' and '-'). Name its policy yourself: "
                f"policies: {{{name!r}: some_name}}."
            )


def _refuse_texts(config: ExperimentConfig, env: Any, agents: Iterable[str]) -> None:
    if config.model.class_ is not None:
        return
    for agent in agents:
        if parts := text_parts(_space(env, "observation_space", agent)):
            places = ", ".join(f"observation{part}" for part in parts)
            raise ConfigError(
                f"env.id = {config.env.id!r}: {places} of {agent} is a text, which no network here "
                "reads. env.drop_texts: true leaves it out (it may be what tells the task apart); "
                "model.class takes a network of your own that reads it."
            )


def _check_masks(config: ExperimentConfig, env: Any, agents: Iterable[str]) -> None:
    """Refuses masks that are not of the agents' actions, or that no network would obey."""
    for agent in agents:
        seen = _space(env, "observation_space", agent)
        try:
            legal = legal_actions(seen, _action_space(env, agent))
        except EnvError as error:
            raise EnvError(f"env.id = {config.env.id!r}: {agent}: {error}") from error
        if legal is not None and trains_rllib_module(config):
            able = ", ".join(name for name, row in ALGORITHMS.items() if row.rl_module_class)
            raise ConfigError(
                f"algorithm.name = {config.algorithm.name!r} trains RLlib's own network, which "
                f"does not obey the action_mask of {agent!r}. Take one of {able}, or a network of "
                "your own in model.class."
            )


def _check_action_spaces(
    config: ExperimentConfig, policies: Mapping[str, Policy], env: Any
) -> None:
    if config.model.class_ is not None:
        return
    allowed = ALGORITHMS[config.algorithm.name].action_spaces
    for policy in policies.values():
        if not isinstance(policy.action_space, tuple(getattr(gym.spaces, a) for a in allowed)):
            kinds = " or ".join(allowed)
            raise ConfigError(
                f"algorithm.name = {config.algorithm.name!r} acts in {kinds} spaces; "
                f"{policy.agents[0]!r} has {_space(env, 'action_space', policy.agents[0])}."
            )


def _check_sizes(config: ExperimentConfig, env: Any, agent: str) -> None:
    seen, acts = _space(env, "observation_space", agent), _space(env, "action_space", agent)
    problem = empty_part(seen)
    if problem is None and config.model.class_ is None:
        problem = too_many_categories(seen, "observation") or too_many_categories(acts, "action")
    if problem is not None:
        raise EnvError(f"{config.env.id}: {agent}: {problem}")


def _action_space(env: Any, agent: str) -> gym.Space:
    """Returns what the agent's policy chooses from."""
    return adapt_action(_space(env, "action_space", agent))[0]


def _space(env: Any, kind: str, agent: str) -> gym.Space:
    """Returns an agent's `observation_space` or `action_space`, which must be one."""
    try:
        space = getattr(env, kind)(agent)
    except Exception as error:  # whatever the environment raises
        raise EnvError(f"the environment has no {kind} for {agent!r}: {error!r}") from error
    if not isinstance(space, gym.Space):
        raise EnvError(
            f"the environment's {kind} for {agent!r} must be a gymnasium.Space, and is {space!r}."
        )
    return space


def _common(policy: str, agents: tuple[str, ...], spaces: Mapping[str, gym.Space]) -> gym.Space:
    first = agents[0]
    for agent in agents[1:]:
        if spaces[agent] != spaces[first]:
            raise ConfigError(
                f"policies: {policy!r} acts for {first!r} and {agent!r}, whose spaces differ "
                f"({spaces[first]} and {spaces[agent]}). Give them policies of their own."
            )
    return spaces[first]
