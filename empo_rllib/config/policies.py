"""From the agents of an environment to the policies that act for them: pure functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from empo_rllib import columns
from empo_rllib.config.sections import Policies, PolicyConfig
from empo_rllib.errors import ConfigError, nearest

SHARED = "shared"
"""Name of the one policy where `policies` is `shared`."""


@dataclass(frozen=True)
class PolicyAssignment:
    """One policy of an experiment and the agents that it acts for.

    Attributes:
        name: its name, the id of its RLModule.
        agents: the agents in the env's order.
        train: False where its weights are frozen.
        checkpoint: run folder, trial or checkpoint that its weights come from, or None.
    """

    name: str
    agents: tuple[str, ...]
    train: bool = True
    checkpoint: str | None = None


def policy_for(agent: str, policies: Policies) -> str:
    """Returns the name of the policy that acts for `agent`.

    An exact agent id comes before patterns (`fnmatch`, case-sensitive); of these the first wins.

    Raises:
        ConfigError: no key of the mapping matches the agent.
    """
    if policies == "independent":
        return agent
    if isinstance(policies, str):
        return SHARED
    key = _key_for(agent, policies)
    if key is None:
        raise ConfigError(_left_out([agent], policies))
    return policies[key].policy


def resolve_policies(policies: Policies, agents: Collection[str]) -> dict[str, PolicyAssignment]:
    """Returns the policies of an experiment by name, in the order of their first agents.

    Args:
        policies: `ExperimentConfig.policies`.
        agents: all agents that the env may have, in its order.

    Raises:
        ConfigError: an agent has no policy, or a key of the mapping has no agent; every such
            mistake is in the message.
    """
    if not isinstance(policies, str):
        _check_coverage(policies, agents)
    members: dict[str, list[str]] = {}
    for agent in agents:
        members.setdefault(policy_for(agent, policies), []).append(agent)
    if isinstance(policies, str):
        return {name: PolicyAssignment(name, tuple(own)) for name, own in members.items()}
    entries = {entry.policy: entry for entry in policies.values()}
    return {
        name: PolicyAssignment(name, tuple(own), entries[name].train, entries[name].checkpoint)
        for name, own in members.items()
    }


def check_metric(metric: str, policies: Collection[str], agents: Collection[str]) -> None:
    """Checks the policy or agent that a metric names.

    Args:
        metric: of `tune.metric`, one of `METRICS`.
        policies: names of the experiment's policies.
        agents: the env's agents.

    Raises:
        ConfigError: `policy_return_mean/<policy>` or `agent_return_mean/<agent>` names one that
            there is not.
    """
    prefix, slash, name = metric.partition("/")
    named = {columns.POLICY_RETURN_MEAN: policies, columns.AGENT_RETURN_MEAN: agents}
    names = named.get(prefix + slash)
    if names is None or name in names:
        return
    raise ConfigError(
        f"tune.metric = {metric!r} names {name!r}, but there are only {', '.join(names)}."
        f"{nearest(name, names)}"
    )


def _key_for(agent: str, policies: Mapping[str, PolicyConfig]) -> str | None:
    if agent in policies:
        return agent
    return next((key for key in policies if fnmatchcase(agent, key)), None)


def _check_coverage(policies: Mapping[str, PolicyConfig], agents: Collection[str]) -> None:
    keys = {agent: _key_for(agent, policies) for agent in agents}
    problems = []
    uncovered = [agent for agent, key in keys.items() if key is None]
    if uncovered:
        problems.append(_left_out(uncovered, policies))
    for key in policies:
        if key not in keys.values():
            problems.append(_unused(key, policies, agents))
    if problems:
        raise ConfigError("\n".join(problems))


def _left_out(agents: Collection[str], policies: Mapping[str, PolicyConfig]) -> str:
    listed = ", ".join(map(repr, agents))
    return f"policies leaves out {listed}: its keys are {', '.join(map(repr, policies))}."


def _unused(key: str, policies: Mapping[str, PolicyConfig], agents: Collection[str]) -> str:
    if any(fnmatchcase(agent, key) for agent in agents):
        return (
            f"policies.{key} = {policies[key].policy!r} is never used: other keys come before it "
            "for every agent that it matches."
        )
    return (
        f"policies.{key} = {policies[key].policy!r} matches no agent: they are "
        f"{', '.join(agents)}.{nearest(key, agents)}"
    )
