"""One step of all copies: `MultiGridEnv.step`, as `MultiGridParallelEnv` shows it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from empo_rllib.envs.batched.kernel import kernel, part
from empo_rllib.envs.batched.random import shuffle
from empo_rllib.envs.batched.rules import apply_rule, fail, succeed
from empo_rllib.envs.batched.state import (
    BALL,
    BOX,
    CLOSED,
    DOOR,
    EMPTY,
    FLOOR,
    GOAL,
    KEY,
    LAVA,
    LOCKED,
    NOTHING,
    OPEN,
    Worlds,
)
from empo_rllib.envs.batched.view import front_of, observe

from multigrid.core.actions import Action  # isort: skip

_LEFT, _RIGHT, _FORWARD = int(Action.left), int(Action.right), int(Action.forward)
_PICKUP, _DROP, _TOGGLE = int(Action.pickup), int(Action.drop), int(Action.toggle)


class Outcome(NamedTuple):
    """The arrays of `VectorEnv` that a step writes; see there."""

    present: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    episode_over: np.ndarray
    success: np.ndarray


@kernel
def play(
    worlds: Worlds,
    rule: int,
    actions: np.ndarray,
    draw_order: bool,
    outcome: Outcome,
    images: np.ndarray,
    directions: np.ndarray,
) -> None:
    """Plays one step in every copy; starts no new episodes.

    Args:
        worlds: The state.
        rule: What is added to upstream's base step, see `rules`.
        actions: int64 [N, A].
        draw_order: Draw who acts when; else `worlds.orders` is taken as it is.
        outcome: Where the outcome goes; agents that are `present` in it act.
        images: uint8 [N, A, V, V, 3], where their views go.
        directions: [N, A], where their directions go.
    """
    for n in range(len(actions)):
        worlds.episodes[n].step += 1
        if draw_order:
            shuffle(worlds.episodes[n], worlds.orders[n])
        present = outcome.present[n]
        _act(worlds, n, actions[n], present)
        observe(worlds, n, present, images[n], directions[n])
        apply_rule(rule, worlds, n, actions[n], present)
        _settle(worlds.episodes[n], worlds.agents[n], outcome, n)


@part
def _act(worlds: Worlds, n: int, actions: np.ndarray, present: np.ndarray) -> None:
    """Lets the agents of copy `n` act, one after the other."""
    agents = worlds.agents[n]
    for a in range(len(agents)):
        agents[a].reward = 0.0
    for a in worlds.orders[n]:
        agent, action = agents[a], actions[a]
        if agent.terminated or not present[a]:
            continue
        if action == _LEFT:
            agent.direction = (agent.direction + 3) % 4
        elif action == _RIGHT:
            agent.direction = (agent.direction + 1) % 4
        elif action in (_FORWARD, _PICKUP, _DROP, _TOGGLE):
            x, y = front_of(worlds, agent)
            if action == _FORWARD:
                _forward(worlds, n, a, x, y)
            elif action == _PICKUP:
                _pick_up(worlds, n, agent, x, y)
            elif action == _DROP:
                _drop(worlds, n, agent, x, y)
            else:
                _toggle(worlds, n, agent, x, y)


@part
def _forward(worlds: Worlds, n: int, a: int, x: int, y: int) -> None:
    episode, agents, index = worlds.episodes[n], worlds.agents[n], worlds.objects[n, x, y]
    kind = EMPTY
    if index != NOTHING:
        kind = worlds.things[n, index].kind
        is_open = kind == DOOR and worlds.things[n, index].state == OPEN
        if kind not in (GOAL, FLOOR, LAVA) and not is_open:
            return
    if not episode.overlap and _is_occupied(agents, x, y):
        return
    agents[a].x, agents[a].y = x, y
    if kind == GOAL:
        succeed(episode, agents, a)
    elif kind == LAVA:
        fail(episode, agents, a)


@part
def _pick_up(worlds: Worlds, n: int, agent: Any, x: int, y: int) -> None:
    index = worlds.objects[n, x, y]
    if index == NOTHING or agent.carried != NOTHING:
        return
    kind = worlds.things[n, index].kind
    if kind in (KEY, BALL, BOX):
        agent.carried = index
        put(worlds, n, NOTHING, x, y)


@part
def _drop(worlds: Worlds, n: int, agent: Any, x: int, y: int) -> None:
    if agent.carried == NOTHING or worlds.objects[n, x, y] != NOTHING:
        return
    if not _is_occupied(worlds.agents[n], x, y):
        put(worlds, n, agent.carried, x, y)
        agent.carried = NOTHING


@part
def _toggle(worlds: Worlds, n: int, agent: Any, x: int, y: int) -> None:
    index = worlds.objects[n, x, y]
    if index == NOTHING:
        return
    thing = worlds.things[n, index]
    if thing.kind == BOX:
        put(worlds, n, thing.contents, x, y)
    elif thing.kind == DOOR:
        if thing.state != LOCKED:
            thing.state = CLOSED if thing.state == OPEN else OPEN
        elif _has_key(worlds.things[n], agent.carried, thing.color):
            thing.state = OPEN
        else:
            return
        put(worlds, n, index, x, y)  # shows the new state


@part
def _has_key(things: np.ndarray, carried: int, color: int) -> bool:
    return carried != NOTHING and things[carried].kind == KEY and things[carried].color == color


@part
def _is_occupied(agents: np.ndarray, x: int, y: int) -> bool:
    """Tells whether an agent stands there; one that has left still does, as upstream."""
    occupied = False
    for b in range(len(agents)):
        occupied = occupied or (agents[b].x == x and agents[b].y == y)
    return occupied


@part
def put(worlds: Worlds, n: int, index: int, x: int, y: int) -> None:
    """Puts a thing, or `NOTHING`, into a cell of copy `n`."""
    cell = worlds.cells[n, x, y]
    worlds.objects[n, x, y] = index
    if index == NOTHING:
        cell[0] = EMPTY
        cell[1] = cell[2] = 0
    else:
        cell[0] = worlds.things[n, index].kind
        cell[1] = worlds.things[n, index].color
        cell[2] = worlds.things[n, index].state


@part
def _settle(episode: Any, agents: np.ndarray, outcome: Outcome, n: int) -> None:
    """Writes what the step paid, who left, and whether that ended the episode."""
    timed_out = episode.step >= episode.max_steps
    over, cut_off = True, False
    for a in range(len(agents)):
        acted, terminated = outcome.present[n, a], agents[a].terminated
        # An agent that finishes in the last step has finished; it was not cut off.
        truncated = acted and timed_out and not terminated
        stays = acted and not terminated and not timed_out
        outcome.rewards[n, a] = agents[a].reward if acted else 0.0
        outcome.terminated[n, a] = acted and terminated
        outcome.truncated[n, a] = truncated
        outcome.present[n, a] = stays
        over = over and not stays
        cut_off = cut_off or truncated
    outcome.episode_over[n] = over
    success = not episode.failed or (episode.success_any and episode.succeeded)
    outcome.success[n] = (success and not cut_off) if over else -1
