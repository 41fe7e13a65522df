"""Metadata, agents and spaces: what can be said before anything is played."""

from __future__ import annotations

import copy
from typing import Any

from gymnasium import spaces
from pettingzoo import ParallelEnv

from empo_rllib.doctor.findings import Findings, GaveUp
from empo_rllib.envs.actions import adapt_action
from empo_rllib.envs.arguments import describe
from empo_rllib.envs.masks import LegalActions, legal_actions, mask_of
from empo_rllib.envs.observations import short
from empo_rllib.envs.space_sizes import empty_part, too_many_categories
from empo_rllib.envs.vector_env import ARRAY_SPACES, ObservationLeaves
from empo_rllib.errors import EnvError

ACTION_SPACES = (spaces.Discrete, spaces.MultiDiscrete, spaces.Box)
_SPACES = ("observation_space", "action_space")


def check_declarations(env: ParallelEnv, findings: Findings) -> None:
    """Looks at metadata, agents and spaces.

    Raises:
        GaveUp: nothing can be played with them.
    """
    if not isinstance(getattr(env, "metadata", None), dict):
        findings.add("metadata-missing", f"metadata = {short(getattr(env, 'metadata', None))}")
    _check_agents(env, findings)
    for agent in env.possible_agents:
        for method in _SPACES:
            _check_space(env, agent, method, findings)
    if "space-missing" in findings:
        raise GaveUp
    for agent in env.possible_agents:
        try:
            legal_actions_of(env, agent)
        except EnvError as error:
            place = findings.places.of_method("observation_space")
            findings.add("action-mask-misfit", f"{agent}: {error}", place)
            raise GaveUp from None


def legal_actions_of(env: ParallelEnv, agent: str) -> LegalActions | None:
    """Returns what an agent's masks allow; None where there are none, or no such actions.

    Raises:
        EnvError: they are not of its actions.
    """
    if mask_of(env.observation_space(agent)) is None:
        return None
    return legal_actions(env.observation_space(agent), adapt_action(env.action_space(agent))[0])


def check_spaces_kept(env: ParallelEnv, known: dict[str, Any], findings: Findings) -> None:
    """Compares the observation and action spaces with those of `spaces_of` before.

    Raises:
        GaveUp: one is not there any more.
    """
    for agent in env.possible_agents:
        for method in _SPACES:
            _check_space(env, agent, method, findings)
    if "space-missing" in findings:
        raise GaveUp
    for key, space in spaces_of(env).items():
        if space != known[key]:
            seen = f"{key} was {short(known[key])} and is {short(space)} after a reset"
            findings.add("space-changes", seen, findings.places.of_method(key.partition("(")[0]))


def spaces_of(env: ParallelEnv) -> dict[str, Any]:
    """Returns copies of the spaces of all agents by the call that returns them."""
    return {
        f"{method}({agent!r})": copy.deepcopy(getattr(env, method)(agent))
        for agent in env.possible_agents
        for method in _SPACES
    }


def _check_agents(env: ParallelEnv, findings: Findings) -> None:
    agents = list(env.possible_agents)
    for agent in agents:
        if not isinstance(agent, str):
            findings.add("agent-not-a-string", f"possible_agents hold {agent!r}")
    if "agent-not-a-string" in findings:
        raise GaveUp
    if len(set(agents)) < len(agents) or not agents:
        findings.add("agent-not-a-string", f"possible_agents = {short(agents)}")
    if "agent-not-a-string" in findings:
        raise GaveUp


def _check_space(env: ParallelEnv, agent: str, method: str, findings: Findings) -> None:
    place = findings.places.of_method(method)
    try:
        first, second = getattr(env, method)(agent), getattr(env, method)(agent)
    except Exception as error:
        place = findings.places.of_error(error, method)
        findings.add("space-missing", f"{method}({agent!r}): {describe(error)}", place)
        return
    if not isinstance(first, spaces.Space):
        findings.add("space-missing", f"{method}({agent!r}) = {short(first)}", place)
        return
    if first != second:
        findings.add("space-changes", f"{method}({agent!r}) is another at each call", place)
    elif first is not second:
        findings.add("space-made-anew", f"{method}({agent!r}) is a new object at each call", place)
    if kind := unsupported_kind(method, first):
        findings.add("space-unsupported", f"{method}({agent!r}) holds a {kind}", place)
    elif problem := _size_problem(method, first):
        findings.add("space-unsupported", f"{method}({agent!r}): {problem}", place)


def _size_problem(method: str, space: spaces.Space) -> str | None:
    if method == "action_space":
        return too_many_categories(space, "action")
    return empty_part(space) or too_many_categories(space, "observation")


def unsupported_kind(method: str, space: spaces.Space) -> str | None:
    """Returns the kind of a part of the space that the default networks do not take."""
    if method == "action_space":
        try:
            chosen_from = adapt_action(space)[0]
        except EnvError:
            return repr(space)
        return None if isinstance(chosen_from, ACTION_SPACES) else type(space).__name__
    kinds = ObservationLeaves(space).kinds - set(ARRAY_SPACES)
    return next((kind.__name__ for kind in kinds), None)
