"""Whether layouts follow from the seed alone, or also from the episode before.

Kernels play the steps of a class that only lays out the grid. The Python environments that make its
layouts are then never stepped: a layout that looked at the last episode would find none. So a few
layouts are made and compared before: with episodes played between them, and without.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from empo_rllib.envs.batched.rules import read_rule
from empo_rllib.envs.batched.state import BALL, BOX, DOOR, GOAL, KEY, LAVA, allocate, read_layout
from empo_rllib.envs.multigrid import MultiGridParallelEnv

from multigrid.core.actions import Action  # isort: skip
from multigrid.core.constants import Direction  # isort: skip
from multigrid.core.world_object import WorldObj  # isort: skip

#: Seeds, and how many episodes follow each: 54 layouts, 10 ms for a small grid's and 400 ms for
#: a Playground's. Of objects in a tenth of all layouts they miss 8 %.
_SEEDS = range(4)
_EPISODES = 6

#: What an agent does to a thing, in this order: keys open doors, and goals end episodes.
_DEEDS = {
    KEY: Action.pickup,
    BALL: Action.pickup,
    DOOR: Action.toggle,
    BOX: Action.toggle,
    LAVA: Action.forward,
    GOAL: Action.forward,
}


def history_problem(env: MultiGridParallelEnv) -> str | None:
    """Tells what else than the seed layouts of `env` follow from, in a sentence; None if nothing.

    Raises:
        UnsupportedLayoutError: a layout has something that kernels do not know.
        EnvError: a layout has no room for what it asks for.
    """
    seeds = env._episode_seeds
    try:
        problem = next(_history_problems(env), None)
    finally:
        env._episode_seeds = seeds
    return problem and f"the layouts of {type(env.env).__name__} {problem}"


def _history_problems(env: MultiGridParallelEnv) -> Iterator[str]:
    read: set[str] = set()
    for seed in _SEEDS:
        alone = _layouts(env, seed, read, play=False)
        if read:
            yield f"read {' and '.join(sorted(read))} of the episode before"
        if seed == _SEEDS[0] and _layouts(env, seed, read, play=False) != alone:
            yield (
                "differ where the seed is the same (they draw random numbers elsewhere than from "
                "the environment's np_random, or count episodes)"
            )
        if _layouts(env, seed, read, play=True) != alone:
            yield "depend on the episode before"


def _layouts(env: MultiGridParallelEnv, seed: int, read: set[str], play: bool) -> list[bytes]:
    """Returns the layouts of the episodes that follow a seed.

    Args:
        env: makes them.
        seed: of the first.
        read: to which the names are added of what a layout reads of the episode before.
        play: whether the episodes are played.
    """
    found = []
    for episode in range(_EPISODES):
        if play and episode:
            _play(env)
        with _noting_reads(env.env, read):
            env.lay_out(seed=None if episode else seed)
        found.append(snapshot(env))
    return found


def snapshot(env: MultiGridParallelEnv) -> bytes:
    """Returns all that kernels would read of `env`, which has just been laid out.

    Raises:
        UnsupportedLayoutError: its layout has something that kernels do not know.
    """
    worlds = allocate(env, 1, missions=np.zeros((1, len(env.possible_agents), 0), np.int64))
    catalogue = read_layout(worlds, 0, env)
    read_rule(worlds.episodes[0], env.env, catalogue)
    mission = () if env.mission is None else env.mission
    arrays = worlds.cells, worlds.objects, worlds.agents, worlds.episodes, catalogue.rows, mission
    return b"|".join(np.asarray(array).tobytes() for array in arrays)


def _play(env: MultiGridParallelEnv) -> None:
    """Plays an episode that leaves traces: agents use everything that they find, until time is up.

    They are put before each thing; walking there would take thousands of steps.
    """
    grid = env.env
    for position, action in _deeds(grid):
        if not env.agents:
            return
        _stand_before(position, grid.agents[env.possible_agents.index(env.agents[0])], grid)
        env.step(dict.fromkeys(env.agents, int(action)))
    if env.agents:
        grid.step_count = grid.max_steps - 1
        env.step(dict.fromkeys(env.agents, int(Action.done)))


def _deeds(grid: Any) -> list[tuple[tuple[int, int], Action]]:
    """Returns where agents can do something, and what."""
    kinds = grid.grid.state[..., WorldObj.TYPE]
    places = [(kind, (int(x), int(y))) for kind in _DEEDS for x, y in np.argwhere(kinds == kind)]
    return [(place, _DEEDS[kind]) for kind, place in places]


def _stand_before(position: tuple[int, int], agent: Any, grid: Any) -> None:
    """Puts an agent beside a cell, inside the grid, so that it looks at it."""
    for direction in Direction:
        x, y = np.subtract(position, direction.to_vec()).tolist()
        if 0 <= x < grid.width and 0 <= y < grid.height:
            agent.state.pos, agent.state.dir = (x, y), int(direction)
            return


@contextlib.contextmanager
def _noting_reads(grid: Any, read: set[str]) -> Iterator[None]:
    """Notes which of `step_count` and `grid` are read before they are set anew.

    A comparison of few episodes would not find a layout that counts in how many the agents were
    fast.
    """
    own_class, anew = type(grid), set[str]()

    def watched(name: str) -> property:
        def get(self: Any) -> Any:
            if name not in vars(self):
                raise AttributeError(name)
            if name not in anew:
                read.add(name)
            return vars(self)[name]

        def put(self: Any, value: Any) -> None:
            anew.add(name)
            vars(self)[name] = value

        return property(get, put)

    names = {name: watched(name) for name in ("step_count", "grid")}
    grid.__class__ = types.new_class(
        own_class.__name__, (own_class,), exec_body=lambda body: body.update(names)
    )
    try:
        yield
    finally:
        grid.__class__ = own_class
