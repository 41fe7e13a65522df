"""The highest return that an environment allows, where a search can find it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pettingzoo import ParallelEnv

State = tuple[int, int, int]


def optimal_return(env: ParallelEnv, seeds: Iterable[int]) -> float | None:
    """Returns the mean over the seeds' episodes of the highest sum of all agents' returns.

    Known for MultiGrid's Empty environments (exactly that class: others may pay otherwise), whose
    agents do not stand in each other's way: one agent, or `allow_agent_overlap`, the default. It
    takes agents that know the whole grid and act together; what they see is not enough to promise
    that a policy can reach it.

    Args:
        env: an environment, which is reset.
        seeds: one for each episode.

    Returns:
        None where it is not known.
    """
    grid = _empty_grid(env)
    if grid is None:
        return None
    best = []
    known: dict[bytes, dict[State, int]] = {}
    for seed in seeds:
        env.reset(seed=seed)
        layout = grid.grid.state.tobytes()
        if layout not in known:
            known[layout] = _distances_to_goal(grid)
        distances = known[layout]
        best.append(
            best_return(
                [distances.get(_state_of(agent)) for agent in grid.agents],
                grid.max_steps,
                end_with_first=grid.success_termination_mode == "any",
                joint_reward=grid.joint_reward,
            )
        )
    return float(np.mean(best))


def best_return(
    distances: Sequence[int | None], max_steps: int, *, end_with_first: bool, joint_reward: bool
) -> float:
    """Returns the highest sum of returns of agents that walk to a goal without hindrance.

    An arrival at step t pays 1 - 0.9 t / max_steps, to the agent or to all that are still there.

    - The first arrival ends the episode: the nearest agent goes straight there.
    - Each is paid for itself: all go straight there.
    - Each arrival pays all that are there, once a step: the k-th arrival pays those that have not
      left before, so that arrivals are worth most one at a time and as early as possible. Agents
      can wait for their turn.

    Args:
        distances: of each agent, in steps; None where there is no way.
        max_steps: of an episode.
        end_with_first: whether one arrival ends the episode for all.
        joint_reward: whether an arrival pays everybody.
    """
    reachable = sorted(d for d in distances if d is not None and d <= max_steps)
    if end_with_first:
        reachable = reachable[:1]
    if not joint_reward:
        return sum(_reward(steps, max_steps) for steps in reachable)
    total, step, present = 0.0, 0, len(distances)
    for distance in reachable:
        step = max(distance, step + 1)
        if step > max_steps:
            break
        total += present * _reward(step, max_steps)
        present -= 1
    return total


def _reward(steps: int, max_steps: int) -> float:
    return 1 - 0.9 * (steps / max_steps)


def _empty_grid(env: Any) -> Any:
    """Returns the MultiGrid environment if its optimum is known, otherwise None."""
    if type(env).__module__ != "empo_rllib.envs.multigrid":
        return None
    from multigrid.envs import EmptyEnv

    grid = env.env
    if type(grid) is not EmptyEnv:
        return None
    return grid if grid.allow_agent_overlap or grid.num_agents == 1 else None


def _state_of(agent: Any) -> State:
    x, y = agent.state.pos
    return int(x), int(y), int(agent.state.dir)


def _distances_to_goal(grid: Any) -> dict[State, int]:
    """Returns the fewest steps from each position and direction until an agent has arrived.

    Breadth-first, backwards from the moves that enter a goal.
    """
    from multigrid.core.constants import Direction, Type

    kinds = grid.grid.state[..., 0]
    goals = {tuple(map(int, cell)) for cell in np.argwhere(kinds == int(Type.goal))}
    free = {tuple(map(int, cell)) for cell in np.argwhere(kinds != int(Type.wall))}
    headings = [tuple(map(int, direction.to_vec())) for direction in Direction]
    distances: dict[State, int] = {}
    waiting: deque[tuple[State, int]] = deque()
    for x, y in goals:
        for direction, (dx, dy) in enumerate(headings):
            if (x - dx, y - dy) in free:
                waiting.append(((x - dx, y - dy, direction), 1))
    while waiting:
        (x, y, direction), steps = waiting.popleft()
        if (x, y, direction) in distances:
            continue
        distances[x, y, direction] = steps
        before = [(x, y, (direction + turn) % 4) for turn in (1, 3)]
        dx, dy = headings[direction]
        # Who enters a goal has left: nobody comes from there.
        if (x, y) not in goals and (x - dx, y - dy) in free:
            before.append((x - dx, y - dy, direction))
        waiting += [(state, steps + 1) for state in before]
    return distances
