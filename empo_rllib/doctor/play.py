"""Episodes of a random policy: what they are like, and what never happens in them."""

from __future__ import annotations

import copy
import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from empo_rllib.doctor.episode import CheckedEpisode, RandomActions
from empo_rllib.doctor.findings import Findings
from empo_rllib.doctor.limits import Limits
from empo_rllib.doctor.places import render_place
from empo_rllib.doctor.spaces import check_spaces_kept, spaces_of
from empo_rllib.doctor.subject import Subject
from empo_rllib.envs.constant import FirstSeen
from empo_rllib.envs.step_limit import cut_limit

_KEPT_OBSERVATIONS = 200
_COLORS = re.compile(r"\x1b\[[0-9;]*m")  # Gymnasium's warnings are yellow


@dataclass
class Played:
    """What a random policy met.

    Attributes:
        episodes: those that ended.
        env_steps: of all, also of one that was cut off by the limits.
        step_s: seconds of each step.
        reset_s: seconds of each reset.
        observations: some, of all agents, for measuring what is done with them.
    """

    episodes: list[CheckedEpisode] = field(default_factory=list)
    env_steps: int = 0
    step_s: list[float] = field(default_factory=list)
    reset_s: list[float] = field(default_factory=list)
    observations: list[dict[str, Any]] = field(default_factory=list)
    seen_agents: set[str] = field(default_factory=set)
    first_seen: FirstSeen = field(default_factory=FirstSeen)


def play(subject: Subject, limits: Limits, played: Played) -> None:
    """Plays episodes of a random policy until a limit is met, and checks what they have in common.

    Args:
        subject: the environment, not reset yet.
        limits: when to stop.
        played: what is measured is added to it, so that it holds what there was before a failure.

    Raises:
        GaveUp: the environment cannot be played on.
    """
    known = spaces_of(subject.env)
    actions = RandomActions(subject, seed=0)
    endless_steps = min(limits.episode_steps, limits.env_steps)
    started = time.monotonic()

    def more() -> bool:
        # Whether the first episode ends must not depend on the load of the machine.
        in_first = not played.episodes and played.env_steps < endless_steps
        limit_s = limits.episode_s if in_first else limits.play_s
        return played.env_steps < limits.env_steps and time.monotonic() < started + limit_s

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        try:
            while len(played.episodes) < limits.episodes and more():
                _play_episode(subject, actions, more, played)
                check_spaces_kept(subject.env, known, subject.findings)
        finally:
            _note_warnings(caught, subject.findings)
    _check_ends(played, cut_limit(subject.env, endless_steps), subject.findings)
    _check_returns(played, subject.findings)
    _check_agents(subject, played)


def _play_episode(
    subject: Subject, actions: RandomActions, more: Callable[[], bool], played: Played
) -> None:
    # The first is seeded, as in training; those that follow are not.
    episode = CheckedEpisode(subject, None if played.reset_s else 0)
    played.reset_s.append(subject.last_s)
    _watch(episode, played)
    while episode.present and more():
        episode.step(actions.draw(episode))
        played.step_s.append(subject.last_s)
        played.env_steps += 1
        _watch(episode, played)
    if not episode.present:
        played.episodes.append(episode)


def _watch(episode: CheckedEpisode, played: Played) -> None:
    """Notes who is there, and what they see."""
    played.seen_agents.update(episode.present)
    if len(played.observations) < _KEPT_OBSERVATIONS and episode.present:
        played.observations.append(copy.deepcopy(episode.observations))
    played.first_seen.look(episode.observations)


def _check_ends(played: Played, endless_steps: int, findings: Findings) -> None:
    if not played.episodes:
        if played.env_steps >= endless_steps:
            findings.add("never-ends", f"no episode ended in {played.env_steps:,} env steps")
        return
    lengths = {episode.length for episode in played.episodes}
    terminated = all(e.terminated >= set(e.rewards) for e in played.episodes)
    if len(played.episodes) >= 5 and len(lengths) == 1 and terminated and lengths != {1}:
        (length,) = lengths
        seen = f"all {len(played.episodes)} episodes were terminated in step {length}"
        findings.add("time-limit-as-termination", seen)


def _check_returns(played: Played, findings: Findings) -> None:
    returns = {sum(sum(paid) for paid in e.rewards.values()) for e in played.episodes}
    readable = "reward-not-a-number" not in findings
    if len(played.episodes) >= 3 and len(returns) == 1 and readable:
        seen = f"all {len(played.episodes)} episodes had the return {returns.pop():g}"
        findings.add("return-constant", seen)


def _check_agents(subject: Subject, played: Played) -> None:
    unchanged = played.first_seen.unchanged()
    for agent in subject.env.possible_agents:
        steps = f"in {played.env_steps:,} env steps"
        if agent not in played.seen_agents:
            subject.findings.add("agent-never-there", f"{agent} was never in agents {steps}")
        elif agent in unchanged and played.env_steps > 1:
            seen = f"{agent} saw the same {steps}"
            subject.findings.add("observation-constant", seen)


def _note_warnings(caught: list[warnings.WarningMessage], findings: Findings) -> None:
    for warning in caught:
        text = " ".join(_COLORS.sub("", str(warning.message)).split())
        place = render_place(warning.filename, warning.lineno)
        findings.add("warns", f"{warning.category.__name__}: {text[:100]}", place)
