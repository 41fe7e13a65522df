"""Everything that an examination found, as plain data."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from empo_rllib.doctor.findings import Finding
from empo_rllib.doctor.play import Played
from empo_rllib.doctor.suggestions import Suggestion
from empo_rllib.doctor.times import Hotspot, Times


@dataclass(frozen=True)
class Spread:
    """Numbers of several episodes."""

    n: int
    mean: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Sums up values; None if there are none."""
        if not values:
            return None
        return cls(len(values), float(np.mean(values)), float(min(values)), float(max(values)))


@dataclass(frozen=True)
class AgentSpaces:
    """Agents with the same spaces, and what those are in words.

    Attributes:
        dtypes: those of the arrays in an observation.
    """

    agents: tuple[str, ...]
    observation_space: str
    dtypes: tuple[str, ...]
    action_space: str


@dataclass(frozen=True)
class RandomPlay:
    """What a random policy met; returns are sums over agents unless the name says `agent_`.

    Attributes:
        env_steps: also of an episode that was cut off by the limits.
        episode_length: of the episodes that ended; None if none did.
    """

    env_steps: int
    episode_length: Spread | None
    episode_return: Spread | None
    agent_return: dict[str, Spread]

    @classmethod
    def of(cls, played: Played) -> RandomPlay:
        """Sums up what was played."""
        episodes = played.episodes
        agents = dict.fromkeys(agent for episode in episodes for agent in episode.rewards)
        by_agent = {
            a: Spread.of([float(sum(e.rewards[a])) for e in episodes if a in e.rewards])
            for a in agents
        }
        return cls(
            env_steps=played.env_steps,
            episode_length=Spread.of([episode.length for episode in episodes]),
            episode_return=Spread.of([float(sum(map(sum, e.rewards.values()))) for e in episodes]),
            agent_return={agent: spread for agent, spread in by_agent.items() if spread},
        )


@dataclass
class Report:
    """An examination.

    Attributes:
        env: `id`, `num_agents` and `kwargs`.
        findings: the worst first.
        spaces: agents by their spaces; empty if these are not declared.
        random_policy: None if nothing could be played.
        times: None if nothing could be played.
        hotspots: where the time of a step goes, under the profiler.
        sampler: `batched`, `python` or `rllib`: what `resources.sampler: auto` takes.
        sampler_reason: in a sentence.
        suggestions: settings that follow from the numbers above.
    """

    env: dict[str, Any]
    findings: list[Finding] = field(default_factory=list)
    spaces: list[AgentSpaces] = field(default_factory=list)
    random_policy: RandomPlay | None = None
    times: Times | None = None
    hotspots: list[Hotspot] = field(default_factory=list)
    sampler: str | None = None
    sampler_reason: str = ""
    suggestions: list[Suggestion] = field(default_factory=list)

    def count(self, level: str) -> int:
        """Returns how many findings have this level."""
        return sum(finding.level == level for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """1 with a finding of level error, else 0."""
        return int(self.count("error") > 0)

    def to_json(self) -> str:
        """Returns the report as JSON text."""
        data = dataclasses.asdict(self)
        for plain, suggestion in zip(data["suggestions"], self.suggestions, strict=True):
            plain["option"] = suggestion.option
        return json.dumps(data, indent=2, default=str)


def describe_space(space: gym.Space) -> str:
    """Returns a space in words: kinds, dtypes, shapes and bounds."""
    if isinstance(space, gym.spaces.Dict):
        parts = (f"{key}: {describe_space(part)}" for key, part in space.spaces.items())
        return "{" + ", ".join(parts) + "}"
    if isinstance(space, gym.spaces.Tuple):
        return "(" + ", ".join(map(describe_space, space.spaces)) + ")"
    if isinstance(space, gym.spaces.Box):
        bounds = f" {space.low.min():.4g}..{space.high.max():.4g}" if space.low.size else ""
        return f"Box {space.dtype} {space.shape}{bounds}"
    return str(space)
