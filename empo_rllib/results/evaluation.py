"""What an evaluation measured, and how it was done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from empo_rllib.acting.episodes import FinishedEpisode
from empo_rllib.envs.step_limit import EPISODE_LIMIT
from empo_rllib.statistics import Estimate, estimate, share_interval
from empo_rllib.version import __version__

FORMAT = 1


@dataclass(frozen=True)
class Protocol:
    """How an evaluation was done: enough to do it again.

    Attributes:
        checkpoint: folder of the checkpoint.
        env: `id`, `num_agents` and `kwargs` of the environment.
        episodes: how many were played, episode i on an environment reset with seed + i.
        seed: of the environments and of the actions drawn.
        greedy: whether the policies took their most likely action or drew one.
        settings: what `--set` changed of the environment that was trained in.
        played_in: `batched` (kernels) or `python`; the episodes are the same in both, to the last
            digit, but actions are drawn in another order.
        num_envs: episodes under way at a time, which decides that order too.
        episode_limit: env steps after which an episode was cut that did not end.
        package_version: of `empo_rllib`.
    """

    checkpoint: str
    env: dict[str, Any]
    episodes: int
    seed: int
    greedy: bool
    settings: tuple[str, ...] = ()
    played_in: str = "python"
    num_envs: int = 1
    episode_limit: int = EPISODE_LIMIT
    package_version: str = __version__


@dataclass(frozen=True)
class RandomReference:
    """What agents do that draw every action with equal chances.

    Attributes:
        episodes: how many were played: the first of the evaluation's.
        episode_return: the return of an episode.
        episode_length: its env steps.
        success_rate: share of episodes that succeeded; None where the environment does not tell.
        success_interval_95: its 95 % interval (Wilson).
        episodes_cut: how many were cut at the protocol's `episode_limit`.
    """

    episodes: int
    episode_return: Estimate
    episode_length: Estimate
    success_rate: float | None
    success_interval_95: tuple[float, float] | None = None
    episodes_cut: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Returns it as plain data."""
        return {
            "episodes": self.episodes,
            "episodes_cut": self.episodes_cut,
            "episode_return": self.episode_return.to_dict(),
            "episode_length": self.episode_length.to_dict(),
            "success_rate": self.success_rate,
            "success_interval_95": self.success_interval_95,
        }


@dataclass(frozen=True)
class References:
    """What a return can be compared with.

    Attributes:
        random_policy: the lower end that needs no learning.
        optimum: the mean over the evaluation's episodes of the highest return that there is; None
            where it is not known.
    """

    random_policy: RandomReference
    optimum: float | None

    def to_dict(self) -> dict[str, Any]:
        """Returns them as plain data."""
        return {"random_policy": self.random_policy.to_dict(), "optimum": self.optimum}


@dataclass(frozen=True)
class Source:
    """Where evaluated policies come from.

    Attributes:
        name: what tables call them.
        run: the run folder.
        trial: the trial's id.
        training_seed: the trial's seed.
        params: the values sampled for the trial's search spaces, by dotted key; None where the
            trial was evaluated by itself and not as one of its run's.
    """

    name: str = ""
    run: str = ""
    trial: str = ""
    training_seed: int | None = None
    params: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns it as plain data, without `params` where they are None."""
        found = vars(self)
        return found if self.params is not None else {k: found[k] for k in found if k != "params"}


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation measured; returns are sums over agents unless the name says `agent_`.

    Attributes:
        protocol: how.
        episode_return: the return of an episode.
        agent_return: of each agent, over the episodes that it took part in.
        policy_return: of each policy, the sum over its agents.
        episode_length: env steps of an episode.
        success_rate: share of episodes that succeeded; None where the environment does not tell.
        episodes: `seed`, `episode_return`, `episode_length`, `success`, `cut`, `agent_return` and
            `agent_length` of each.
        success_interval_95: the 95 % interval of `success_rate` (Wilson).
        agent_length: of each agent, the steps of an episode that it acted in.
        policy_length: of each policy, the mean of that over its agents.
        agent_success_rate: share of successes among the episodes that the agent took part in.
        policy_success_rate: the same for each policy.
        references: what to compare the return with; None if that was not asked for.
        source: where the policies come from.
    """

    protocol: Protocol
    episode_return: Estimate
    agent_return: dict[str, Estimate]
    policy_return: dict[str, Estimate]
    episode_length: Estimate
    success_rate: float | None
    episodes: list[dict[str, Any]]
    success_interval_95: tuple[float, float] | None = None
    agent_length: dict[str, Estimate] = field(default_factory=dict)
    policy_length: dict[str, Estimate] = field(default_factory=dict)
    agent_success_rate: dict[str, float | None] = field(default_factory=dict)
    policy_success_rate: dict[str, float | None] = field(default_factory=dict)
    references: References | None = None
    source: Source = Source()

    @property
    def episodes_cut(self) -> int:
        """How many episodes were cut at the protocol's `episode_limit`."""
        return sum(episode["cut"] for episode in self.episodes)

    def to_dict(self) -> dict[str, Any]:
        """Returns the result as plain data."""
        return {
            "format": FORMAT,
            "source": self.source.to_dict(),
            "protocol": {**vars(self.protocol), "settings": list(self.protocol.settings)},
            "episode_return": self.episode_return.to_dict(),
            "agent_return": _to_dicts(self.agent_return),
            "policy_return": _to_dicts(self.policy_return),
            "episode_length": self.episode_length.to_dict(),
            "agent_length": _to_dicts(self.agent_length),
            "policy_length": _to_dicts(self.policy_length),
            "episodes_cut": self.episodes_cut,
            "success_rate": self.success_rate,
            "success_interval_95": self.success_interval_95,
            "agent_success_rate": self.agent_success_rate,
            "policy_success_rate": self.policy_success_rate,
            "references": None if self.references is None else self.references.to_dict(),
            "episodes": self.episodes,
        }

    def to_json(self) -> str:
        """Returns the result as JSON text."""
        return json.dumps(self.to_dict(), indent=2)


def build_result(
    protocol: Protocol,
    played: Sequence[FinishedEpisode],
    policy_of_agent: Mapping[str, str],
    references: References | None = None,
    source: Source | None = None,
) -> EvaluationResult:
    """Sums up finished episodes.

    Args:
        protocol: how they were played.
        played: the episodes, all over.
        policy_of_agent: the policy that acts for each agent.
        references: what the result is to be compared with.
        source: where the policies come from.
    """
    agents = [agent for agent in policy_of_agent if any(agent in e.returns for e in played)]
    teams = {agent: [agent] for agent in agents}
    policies: dict[str, list[str]] = {}
    for agent in agents:
        policies.setdefault(policy_of_agent[agent], []).append(agent)
    return EvaluationResult(
        protocol=protocol,
        episode_return=estimate([episode.episode_return for episode in played]),
        agent_return=_returns(played, teams),
        policy_return=_returns(played, policies),
        episode_length=estimate([episode.length for episode in played]),
        success_rate=success_rate(played),
        episodes=[episode.to_dict() for episode in played],
        success_interval_95=success_interval(played),
        agent_length=_lengths(played, teams),
        policy_length=_lengths(played, policies),
        agent_success_rate=_success_rates(played, teams),
        policy_success_rate=_success_rates(played, policies),
        references=references,
        source=source or Source(),
    )


def references_by_env(results: Sequence[EvaluationResult]) -> list[tuple[str, References]]:
    """Returns the references of each environment, and what tells where they hold.

    That is nothing for one environment, ` in ID` for several, with arguments where ids are equal.
    """
    found: dict[str, tuple[dict[str, Any], References]] = {}
    for result in results:
        if result.references is not None:
            found[str(result.protocol.env)] = (result.protocol.env, result.references)
    ids = [env["id"] for env, _ in found.values()]
    named = []
    for env, references in found.values():
        where = f" in {env['id']}" if len(ids) > 1 else ""
        if ids.count(env["id"]) > 1:
            arguments = {"num_agents": env["num_agents"], **env["kwargs"]}
            where += " with " + ", ".join(f"{key} {value}" for key, value in arguments.items())
        named.append((where, references))
    return named


def describe_cut(results: Sequence[EvaluationResult]) -> str:
    """Returns a sentence about episodes that did not end; "" where all did."""
    chance = {id(r.references): r.references.random_policy for r in results if r.references}
    cut = sum(r.episodes_cut for r in results) + sum(r.episodes_cut for r in chance.values())
    if not cut:
        return ""
    total = sum(len(r.episodes) for r in results) + sum(r.episodes for r in chance.values())
    limits = dict.fromkeys(f"{r.protocol.episode_limit:,}" for r in results)
    return cut_sentence(cut, total, " or ".join(limits))


def cut_sentence(cut: int, total: int, limit: str) -> str:
    """Returns what it means that so many of all episodes were cut."""
    return (
        f"{cut:,} of {total:,} episodes did not end and were cut after {limit} env steps. Returns "
        "and lengths are those until then. An attribute max_steps of the environment raises the "
        "limit."
    )


def success_rate(played: Sequence[FinishedEpisode]) -> float | None:
    """Returns the share of successes; None where the environment does not tell."""
    known = [episode.success for episode in played if episode.success is not None]
    return sum(known) / len(known) if known else None


def success_interval(played: Sequence[FinishedEpisode]) -> tuple[float, float] | None:
    """Returns the 95 % interval of the share of successes; None where that is None."""
    known = [episode.success for episode in played if episode.success is not None]
    return share_interval(sum(known), len(known)) if known else None


def _returns(
    played: Sequence[FinishedEpisode], teams: Mapping[str, Sequence[str]]
) -> dict[str, Estimate]:
    """Estimates for each team the sum over its agents, in episodes that one of them was in."""
    return {
        name: estimate([sum(e.returns.get(agent, 0.0) for agent in team) for e in own])
        for name, team in teams.items()
        if (own := _episodes_of(played, team))
    }


def _lengths(
    played: Sequence[FinishedEpisode], teams: Mapping[str, Sequence[str]]
) -> dict[str, Estimate]:
    """Estimates for each team the mean over those of its agents that took part."""
    found = {}
    for name, team in teams.items():
        acted = [[e.lengths[a] for a in team if a in e.returns] for e in _episodes_of(played, team)]
        found[name] = estimate([sum(steps) / len(steps) for steps in acted])
    return found


def _success_rates(
    played: Sequence[FinishedEpisode], teams: Mapping[str, Sequence[str]]
) -> dict[str, float | None]:
    return {name: success_rate(_episodes_of(played, team)) for name, team in teams.items()}


def _episodes_of(played: Sequence[FinishedEpisode], team: Sequence[str]) -> list[FinishedEpisode]:
    return [episode for episode in played if any(agent in episode.returns for agent in team)]


def _to_dicts(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: value.to_dict() for name, value in estimates.items()}
