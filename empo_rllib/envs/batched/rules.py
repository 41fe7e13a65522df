"""Success, failure, and what single environments add to `MultiGridEnv.step`.

An environment's rule follows from the `step` that its class has. Rules apply after everybody has
acted and seen, to agents in the order of their index. An agent that ended in this very step still
counts; one that had left before does not toggle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from empo_rllib.envs.batched.kernel import part
from empo_rllib.envs.batched.state import (
    CLOSED,
    COUNTED,
    DOOR,
    LOCKED,
    NOTHING,
    OPEN,
    Catalogue,
    UnsupportedLayoutError,
    Worlds,
)
from empo_rllib.envs.batched.view import front_of

from multigrid.base import MultiGridEnv  # isort: skip
from multigrid.core.actions import Action  # isort: skip
from multigrid.core.world_object import Door  # isort: skip
from multigrid.envs import BlockedUnlockPickupEnv, LockedHallwayEnv, RedBlueDoorsEnv  # isort: skip

NO_RULE, RED_BLUE_DOORS, UNLOCK_PICKUP, LOCKED_HALLWAY = range(4)

_TOGGLE = int(Action.toggle)

_RULES: dict[Callable, int] = {
    MultiGridEnv.step: NO_RULE,
    RedBlueDoorsEnv.step: RED_BLUE_DOORS,
    BlockedUnlockPickupEnv.step: UNLOCK_PICKUP,
    LockedHallwayEnv.step: LOCKED_HALLWAY,
}
_NEEDED = {
    NO_RULE: (),
    RED_BLUE_DOORS: ("blue_door", "red_door"),
    UNLOCK_PICKUP: ("obj",),
    LOCKED_HALLWAY: ("rooms", "unlocked_doors"),
}


def rule_of(grid: MultiGridEnv) -> int:
    """Returns the rule that the class of `grid` adds."""
    return _RULES[type(grid).step]


def read_rule(episode: Any, grid: MultiGridEnv, catalogue: Catalogue) -> None:
    """Copies what the rule of `grid` refers to into `episode`.

    Raises:
        UnsupportedLayoutError: the layout does not have it.
    """
    rule = rule_of(grid)
    for name in _NEEDED[rule]:
        if not hasattr(grid, name):
            raise UnsupportedLayoutError(f"its layout does not set `{name}`")
    if rule == RED_BLUE_DOORS:
        doors = grid.blue_door, grid.red_door
        if not all(isinstance(door, Door) for door in doors):
            raise UnsupportedLayoutError("its `blue_door` or `red_door` is not a Door")
        episode["target"], episode["condition"] = map(catalogue.index_of, doors)
    elif rule == UNLOCK_PICKUP:
        episode["target"] = catalogue.index_of(grid.obj)
    elif rule == LOCKED_HALLWAY:
        episode["unlocked"] = len(grid.unlocked_doors)
        episode["to_unlock"] = len(grid.rooms)
        for door in grid.unlocked_doors:
            catalogue.rows[catalogue.index_of(door)][COUNTED] = True


@part
def succeed(episode: Any, agents: np.ndarray, a: int) -> None:
    """Does what upstream's `on_success` does when agent `a` completes the mission."""
    episode.succeeded = True
    _end(agents, a, episode.success_any)
    reward = _reward(episode)
    if episode.joint_reward:
        for b in range(len(agents)):
            agents[b].reward = reward
    else:
        agents[a].reward = reward


@part
def fail(episode: Any, agents: np.ndarray, a: int) -> None:
    """Does what upstream's `on_failure` does when agent `a` fails."""
    episode.failed = True
    _end(agents, a, episode.failure_any)


@part
def apply_rule(rule: int, worlds: Worlds, n: int, actions: np.ndarray, present: np.ndarray) -> None:
    """Does what a `step` of upstream's does after `MultiGridEnv.step`, in copy `n`.

    Args:
        rule: Which `step`.
        worlds: The state.
        n: Which copy.
        actions: int64 [A].
        present: bool [A], who was there before the step.
    """
    if rule == RED_BLUE_DOORS:
        _red_blue_doors(worlds, n, actions, present)
    elif rule == UNLOCK_PICKUP:
        _unlock_pickup(worlds, n)
    elif rule == LOCKED_HALLWAY:
        _locked_hallway(worlds, n, actions, present)


@part
def _red_blue_doors(worlds: Worlds, n: int, actions: np.ndarray, present: np.ndarray) -> None:
    """Opening the blue door succeeds while the red one is open, and fails else."""
    episode, agents, things = worlds.episodes[n], worlds.agents[n], worlds.things[n]
    for a in range(len(agents)):
        if not present[a] or actions[a] != _TOGGLE:
            continue
        if _in_front(worlds, n, agents[a]) != episode.target:
            continue
        if things[episode.target].state == OPEN:
            if things[episode.condition].state == OPEN:
                succeed(episode, agents, a)
            else:
                fail(episode, agents, a)
                # Only the object closes: upstream does not update the grid, which shows the door
                # open until somebody toggles it.
                things[episode.target].state = CLOSED


@part
def _unlock_pickup(worlds: Worlds, n: int) -> None:
    """Carrying the one box succeeds, at every step anew."""
    episode, agents = worlds.episodes[n], worlds.agents[n]
    for a in range(len(agents)):
        if agents[a].carried == episode.target:
            succeed(episode, agents, a)


@part
def _locked_hallway(worlds: Worlds, n: int, actions: np.ndarray, present: np.ndarray) -> None:
    """Unlocking a door pays; the episode ends with as many as there are colours."""
    episode, agents, things = worlds.episodes[n], worlds.agents[n], worlds.things[n]
    for a in range(len(agents)):
        if not present[a] or actions[a] != _TOGGLE:
            continue
        index = _in_front(worlds, n, agents[a])
        if index == NOTHING or things[index].kind != DOOR or things[index].counted:
            continue
        if things[index].state != LOCKED:
            things[index].counted = True
            episode.unlocked += 1
            for b in range(len(agents)):
                if b == a or episode.joint_reward:
                    agents[b].reward += _reward(episode)
    # Not >=: of more doors than colours, two that are unlocked in one step may pass the number.
    if episode.unlocked == episode.to_unlock:
        _end(agents, 0, True)


@part
def _reward(episode: Any) -> float:
    return 1 - 0.9 * (episode.step / episode.max_steps)


@part
def _end(agents: np.ndarray, a: int, everybody: bool) -> None:
    for b in range(len(agents)):
        if b == a or everybody:
            agents[b].terminated = True


@part
def _in_front(worlds: Worlds, n: int, agent: Any) -> int:
    x, y = front_of(worlds, agent)
    return worlds.objects[n, x, y]
