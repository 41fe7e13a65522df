"""What a reset or a step returned: parts, rewards, flags, infos, and who is there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from empo_rllib.envs.observations import Problem, short
from empo_rllib.envs.returned import is_number
from empo_rllib.envs.success import SUCCESS_KEYS, as_flag

RESET_PARTS = ("observations", "infos")
STEP_PARTS = ("observations", "rewards", "terminations", "truncations", "infos")


def malformed(returned: Any, parts: tuple[str, ...]) -> str | None:
    """Tells in what a returned value is not a tuple of these dicts."""
    if not isinstance(returned, tuple):
        return f"returned a {type(returned).__name__}, not {len(parts)} dicts"
    if len(returned) != len(parts):
        return f"returned {len(returned)} values, not {len(parts)}: {', '.join(parts)}"
    for name, part in zip(parts, returned, strict=True):
        if not isinstance(part, Mapping):
            return f"{name} is a {type(part).__name__}, not a dict by agent"
    return None


def presence_problems(
    acting: Collection[str], ended: Collection[str], present: list[str], gone: Collection[str]
) -> Iterator[Problem]:
    """Yields what is wrong with who is in `agents` after a step.

    Args:
        acting: who acted in it.
        ended: whose flags were set.
        present: `agents` after it.
        gone: who had left `agents` before.
    """
    for agent in present:
        if agent in ended:
            yield "agent-acts-after-end", f"{agent} has ended and is still in agents"
        elif agent in gone:
            yield "agent-comes-back", f"{agent} is in agents again"
    for agent in acting:
        if agent not in present and agent not in ended:
            yield "end-without-flag", f"{agent} left agents with no flag set"


def unknown_agents(possible: Collection[str], named: Iterable[Any]) -> Iterator[Problem]:
    """Yields agents that are not listed."""
    for agent in named:
        if agent not in possible:
            yield "unknown-agent", f"{agent!r} is not in possible_agents"


def absent_agents(
    allowed: Collection[str], possible: Collection[str], parts: Mapping[str, Mapping[Any, Any]]
) -> Iterator[Problem]:
    """Yields what was given to agents that neither acted nor appeared."""
    for part, values in parts.items():
        for agent in values:
            if agent in possible and agent not in allowed:
                seen = f"{part} hold {agent} = {short(values[agent])}, which is not there"
                yield "data-for-absent-agent", seen


def reward_problems(acting: Iterable[str], rewards: Mapping[str, Any]) -> Iterator[Problem]:
    """Yields what is wrong with the rewards of the agents that acted."""
    for agent in acting:
        if agent not in rewards:
            yield "missing-reward", f"{agent} acted and has no reward"
        elif not is_number(reward := rewards[agent]):
            yield "reward-not-a-number", f"{agent}: {short(reward)}"
        elif not np.isfinite(reward):
            yield "reward-not-finite", f"{agent}: {reward}"


def flag_problems(
    acting: Iterable[str], terminations: Mapping[str, Any], truncations: Mapping[str, Any]
) -> Iterator[Problem]:
    """Yields what is wrong with the flags of the agents that acted."""
    for agent in acting:
        for part, flags in (("terminations", terminations), ("truncations", truncations)):
            if agent not in flags:
                yield "missing-flag", f"{agent} acted and is not in {part}"
            elif not isinstance(flags[agent], bool | np.bool_ | int):
                yield "flag-not-a-boolean", f"{part}[{agent!r}] = {short(flags[agent])}"
        if terminations.get(agent) is True and truncations.get(agent) is True:
            yield "both-flags", f"{agent} is terminated and truncated"


def info_problems(agents: Iterable[str], infos: Mapping[str, Any]) -> Iterator[Problem]:
    """Yields what is wrong with the infos of observed agents."""
    for agent in agents:
        if agent not in infos:
            yield "infos-missing-agent", f"{agent} is not in infos"
        elif not isinstance(infos[agent], Mapping):
            yield "info-not-a-dict", f"infos[{agent!r}] = {short(infos[agent])}"
        else:
            yield from _success_problems(agent, infos[agent])


def _success_problems(agent: str, info: Mapping[str, Any]) -> Iterator[Problem]:
    for key in SUCCESS_KEYS:
        if info.get(key) is not None and as_flag(info[key]) is None:
            seen = f"infos[{agent!r}][{key!r}] = {short(info[key])}"
            yield "success-not-a-boolean", seen


def set_flags(flags: Mapping[str, Any], agents: Iterable[str]) -> set[str]:
    """Returns the agents whose flag is set; what is no flag counts as not set."""
    return {a for a in agents if isinstance(f := flags.get(a), bool | np.bool_ | int) and f}
