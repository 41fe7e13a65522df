"""Step by step, every copy does what upstream's own environment does."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from empo_rllib.envs.registry import MULTIGRID_IDS, make_env

from multigrid.core.world_object import Door, Key  # isort: skip
from multigrid.envs import LockedHallwayEnv  # isort: skip

#: What must have happened in the episodes of each environment.
EVENTS = {
    "BlockedUnlockPickup": {"rewards", "pickups", "drops", "doors", "successes"},
    "Empty": {"rewards", "successes"},
    "LockedHallway": {"rewards", "pickups", "drops", "doors", "successes"},
    "Playground": {"pickups", "drops", "doors"},
    "RedBlueDoors": {"rewards", "failures", "doors", "successes"},
}


def things(grid):
    positions = np.argwhere(grid.grid.state[..., 0] > 2).tolist()
    return [grid.grid.get(*position) for position in positions]


def bring_closer(grid, generator):
    """Scatters agents and gives them keys, so that few steps are enough for success or failure."""
    free = np.argwhere(grid.grid.state[..., 0] == 1)
    locked = [thing for thing in things(grid) if isinstance(thing, Door) and thing.is_locked]
    if isinstance(grid, LockedHallwayEnv):
        unlock(grid, locked, generator.integers(1, len(locked)))
    for agent in grid.agents:
        agent.state.pos = tuple(generator.choice(free).tolist())
        if locked and generator.random() < 0.5:
            door = locked[generator.integers(len(locked))]
            agent.state.carrying = Key(door.color)
            face(grid, agent, door.cur_pos)


def unlock(grid, locked, number):
    for _ in range(number):
        door = locked.pop()
        door.is_locked = False
        grid.unlocked_doors.append(door)
        grid.grid.update(*door.cur_pos)


def face(grid, agent, position):
    """Puts an agent before `position` if there is a free cell in the middle of that side."""
    for direction, (x, y) in enumerate([(1, 0), (0, 1), (-1, 0), (0, -1)]):
        before = position[0] - x, position[1] - y
        if grid.grid.get(*before) is None:
            agent.state.pos, agent.state.dir = before, direction
            return


@pytest.mark.parametrize("env_id", MULTIGRID_IDS)
def test_every_id_plays_as_upstream(play_lockstep, env_id):
    happened = Counter()
    for num_agents in (1, 2, 3, 4):
        happened += play_lockstep(
            lambda n=num_agents: make_env(env_id, n, max_steps=40), 13, num_agents, bring_closer
        )
    print(happened)
    events = EVENTS[env_id.split("-")[1]]
    assert events <= {event for event, count in happened.items() if count}
