"""How well trained policies do: episodes played anew, and statistics of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from empo_rllib.errors import ConfigError
from empo_rllib.experiment.run_folder import TrainedTrial, locate
from empo_rllib.results.statistics import Estimate, estimate

if TYPE_CHECKING:
    from empo_rllib.results.episodes import Episode

# More environments make larger batches, which pays until about this many.
MAX_ENVS = 32
_MAX_SEED = 2**32


@dataclass(frozen=True)
class Protocol:
    """How an evaluation was done: enough to do it again.

    Attributes:
        checkpoint: folder of the checkpoint.
        env: `id`, `num_agents` and `kwargs` of the environment.
        episodes: how many were played, episode i on an environment reset with seed + i.
        seed: of the environments and of the actions drawn.
        greedy: whether the policies took their most likely action or drew one.
    """

    checkpoint: str
    env: dict[str, Any]
    episodes: int
    seed: int
    greedy: bool


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
        episodes: `seed`, `episode_return`, `episode_length` and `success` of each.
    """

    protocol: Protocol
    episode_return: Estimate
    agent_return: dict[str, Estimate]
    policy_return: dict[str, Estimate]
    episode_length: Estimate
    success_rate: float | None
    episodes: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Returns the result as plain data."""
        return {
            "protocol": vars(self.protocol),
            "episode_return": self.episode_return.to_dict(),
            "agent_return": {key: value.to_dict() for key, value in self.agent_return.items()},
            "policy_return": {key: value.to_dict() for key, value in self.policy_return.items()},
            "episode_length": self.episode_length.to_dict(),
            "success_rate": self.success_rate,
            "episodes": self.episodes,
        }

    def to_json(self) -> str:
        """Returns the result as JSON text."""
        return json.dumps(self.to_dict(), indent=2)


def evaluate(
    run_or_checkpoint: str | Path | TrainedTrial,
    episodes: int = 100,
    seed: int = 0,
    greedy: bool = True,
) -> EvaluationResult:
    """Plays episodes with trained policies and measures them.

    The same arguments give the same numbers. Neither starts Ray nor runs code of the checkpoint.

    Args:
        run_or_checkpoint: A run folder (its best trial), a trial (its newest checkpoint) or a
            checkpoint.
        episodes: How many to play, each to its end.
        seed: Episode i is played on an environment reset with `seed + i`.
        greedy: Take the most likely actions; otherwise draw them as in training.

    Raises:
        ConfigError: an argument has an impossible value, or what the experiment needs is gone.
        RunError: there is no run folder, trial or checkpoint.
        CheckpointError: the checkpoint is damaged.
    """
    check_protocol(episodes, seed)
    trained = find_trained(run_or_checkpoint)

    from empo_rllib.results.episodes import build_env, play_episodes
    from empo_rllib.results.policy import load_policies, repeatable

    policies = load_policies(trained)
    envs: list[Any] = []
    try:
        with repeatable(seed):
            for _ in range(min(episodes, MAX_ENVS)):
                envs.append(build_env(trained.config, policies))
            played = play_episodes(policies, envs, range(seed, seed + episodes), greedy)
    finally:
        for env in envs:
            env.close()
    env_config = trained.config.env
    return build_result(
        Protocol(
            checkpoint=str(trained.checkpoint),
            env={
                "id": env_config.id,
                "num_agents": env_config.num_agents,
                "kwargs": env_config.kwargs,
            },
            episodes=episodes,
            seed=seed,
            greedy=greedy,
        ),
        played,
        policies.of_agent,
    )


def check_protocol(episodes: int, seed: int) -> None:
    """Refuses impossible numbers.

    Raises:
        ConfigError: as said.
    """
    if episodes < 1:
        raise ConfigError(f"episodes = {episodes} must be at least 1.")
    if not 0 <= seed < _MAX_SEED:
        raise ConfigError(f"seed = {seed} must be at least 0 and less than 2**32.")


def find_trained(run_or_checkpoint: str | Path | TrainedTrial) -> TrainedTrial:
    """Returns what `locate` finds; a `TrainedTrial` is returned as it is."""
    if isinstance(run_or_checkpoint, TrainedTrial):
        return run_or_checkpoint
    return locate(run_or_checkpoint)


def build_result(
    protocol: Protocol, played: list[Episode], policy_of_agent: dict[str, str]
) -> EvaluationResult:
    """Sums up finished episodes.

    Args:
        protocol: how they were played.
        played: the episodes, all over.
        policy_of_agent: the policy that acts for each agent.
    """
    agents = [agent for agent in policy_of_agent if any(agent in e.returns for e in played)]
    by_agent = {a: [e.returns[a] for e in played if a in e.returns] for a in agents}
    by_policy: dict[str, list[float]] = {}
    for policy in dict.fromkeys(policy_of_agent[agent] for agent in agents):
        sums = [_policy_return(episode, policy, policy_of_agent) for episode in played]
        by_policy[policy] = [value for value in sums if value is not None]
    successes = [episode.success for episode in played]
    known = [success for success in successes if success is not None]
    return EvaluationResult(
        protocol=protocol,
        episode_return=estimate([sum(episode.returns.values()) for episode in played]),
        agent_return={agent: estimate(values) for agent, values in by_agent.items()},
        policy_return={policy: estimate(values) for policy, values in by_policy.items()},
        episode_length=estimate([episode.length for episode in played]),
        success_rate=sum(known) / len(known) if known else None,
        episodes=[
            {
                "seed": episode.seed,
                "episode_return": sum(episode.returns.values()),
                "episode_length": episode.length,
                "success": success,
            }
            for episode, success in zip(played, successes, strict=True)
        ],
    )


def _policy_return(episode: Episode, policy: str, policy_of_agent: dict[str, str]) -> float | None:
    """The sum over the policy's agents, or None when none of them took part."""
    returns = [r for agent, r in episode.returns.items() if policy_of_agent[agent] == policy]
    return sum(returns) if returns else None
