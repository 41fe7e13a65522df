"""Step by step, every copy does what upstream's own environment does."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from empo_rllib.envs.multigrid import MultiGridParallelEnv
from empo_rllib.envs.registry import MULTIGRID_IDS, make_env

from multigrid.base import MultiGridEnv  # isort: skip
from multigrid.core.constants import Type  # isort: skip
from multigrid.core.grid import Grid  # isort: skip
from multigrid.core.world_object import (  # isort: skip
    Ball,
    Box,
    Door,
    Floor,
    Goal,
    Key,
    Lava,
    Wall,
)
from multigrid.envs import (  # isort: skip
    BlockedUnlockPickupEnv,
    LockedHallwayEnv,
    RedBlueDoorsEnv,
)

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
    events = EVENTS[env_id.split("-")[1]]
    assert events <= happened.keys()


class Zoo(MultiGridEnv):
    """Everything that upstream has, nested, shared, and where upstream's two records differ."""

    def __init__(self, size=9, asleep=(), **kwargs):
        self.asleep = asleep
        super().__init__(grid_size=size, **kwargs)

    def _gen_grid(self, width, height):
        self.grid = Grid(width, height)
        self.grid.wall_rect(0, 0, width, height)
        red_key = Key("red")
        nested = Box("grey", contains=Box("red", contains=red_key))
        shared, stuck = Door("green"), Door("blue")
        for thing in (
            *(Key("red"), Ball("blue"), Ball("green"), Box("purple"), Box("red", Ball("grey"))),
            *(nested, Wall(), Floor("purple"), Floor(), Goal(), Lava(), shared, shared, stuck),
            *(Door("yellow", is_open=True), Door("red", is_locked=True)),
        ):
            self.place_obj(thing)
        stuck.is_locked = True  # the grid goes on showing it closed
        # Cells that nobody has asked for: each becomes an object when somebody does.
        for thing in (Door("red", is_locked=True), Door("grey"), Key("grey"), Goal()):
            x, y = self.free_cell()
            self.grid.state[x, y] = thing
        # A wall for the eyes only: upstream remembers that there is nothing.
        x, y = self.place_obj(None)
        self.grid.horz_wall(x, y, 1)
        for agent in self.agents:
            self.place_agent(agent)
            agent.state.color = self._rand_color().value
            agent.state.terminated = agent.index in self.asleep
        self.agents[0].state.carrying = Box("blue", contains=Door("red", is_locked=True))

    def free_cell(self):
        free = np.argwhere(self.grid.state[..., 0] == 1).tolist()
        untouched = [cell for cell in free if tuple(cell) not in self.grid.world_objects]
        return untouched[self._rand_int(0, len(untouched))]


BASIC = {"rewards", "pickups", "drops", "doors", "truncations", "failures", "successes"}


@pytest.mark.parametrize(
    ("num_agents", "options", "events"),
    [
        (1, {}, BASIC),
        (2, {"see_through_walls": True}, BASIC),
        (3, {"allow_agent_overlap": False, "agent_view_size": 3}, BASIC),
        (2, {"joint_reward": True, "agent_view_size": 5}, BASIC),
        (4, {"success_termination_mode": "all", "joint_reward": True}, BASIC | {"left early"}),
        (3, {"success_termination_mode": "all", "allow_agent_overlap": False}, {"left early"}),
        (3, {"failure_termination_mode": "any", "agent_view_size": 9}, BASIC),
        (
            2,
            {"success_termination_mode": "all", "failure_termination_mode": "any"},
            BASIC | {"left early"},
        ),
        (2, {"max_steps": 1}, {"truncations"}),
        (1, {"max_steps": 500}, {"rewards", "failures"}),
        (3, {"asleep": (1,)}, {"rewards", "failures", "left early"}),
        (
            10,
            {"size": 12, "success_termination_mode": "all"},
            {"rewards", "failures", "pickups", "doors", "left early"},
        ),
        (64, {"size": 16, "success_termination_mode": "all"}, {"pickups", "left early"}),
    ],
    ids=lambda value: None if isinstance(value, set) else str(value),
)
def test_every_object_and_option_plays_as_upstream(play_lockstep, num_agents, options, events):
    episodes = 40 if num_agents < 10 else 4
    happened = play_lockstep(
        lambda: MultiGridParallelEnv(Zoo(agents=num_agents, **{"max_steps": 40, **options})),
        episodes,
    )
    assert events <= happened.keys()


class LavaDoors(RedBlueDoorsEnv):
    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)
        self.place_obj(Lava())
        self.place_obj(Goal())


@pytest.mark.parametrize("success", ["any", "all"])
@pytest.mark.parametrize("failure", ["any", "all"])
@pytest.mark.parametrize("env_class", [RedBlueDoorsEnv, LavaDoors])
def test_doors_that_close_for_agents_but_not_for_eyes(play_lockstep, env_class, success, failure):
    modes = {"success_termination_mode": success, "failure_termination_mode": failure}
    happened = play_lockstep(
        lambda: MultiGridParallelEnv(env_class(size=5, agents=3, max_steps=60, **modes)),
        30,
        prepare=bring_closer,
    )
    assert {"failures", "rewards", "doors"} <= happened.keys()
    assert happened["left early"] or (success, failure) == ("any", "any")


class LookAlikes(BlockedUnlockPickupEnv):
    """Boxes like the wanted one; with `all`, who has it has left, and goes on being paid."""

    def __init__(self, mode="any", **kwargs):
        super().__init__(room_size=6, **kwargs)
        self.success_termination_mode = mode

    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)
        self.add_object(0, 0, Type.box, self.obj.color)
        self.place_obj(Lava())
        self.place_obj(Goal())


@pytest.mark.parametrize("mode", ["any", "all"])
@pytest.mark.parametrize("joint_reward", [True, False])
def test_only_the_wanted_box_counts(play_lockstep, mode, joint_reward):
    happened = play_lockstep(
        lambda: MultiGridParallelEnv(
            LookAlikes(mode, agents=3, max_steps=50, joint_reward=joint_reward)
        ),
        40,
        prepare=bring_closer,
    )
    assert {"rewards", "pickups", "successes", "failures"} <= happened.keys()
    assert happened["left early"]


class GoalHallway(LockedHallwayEnv):
    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)
        self.place_obj(Goal())
        self.place_obj(Lava())


@pytest.mark.parametrize("num_rooms", [2, 8])
@pytest.mark.parametrize("joint_reward", [True, False])
def test_doors_pay_on_top_of_goals(play_lockstep, num_rooms, joint_reward):
    happened = play_lockstep(
        lambda: MultiGridParallelEnv(
            GoalHallway(
                num_rooms=num_rooms,
                agents=4,
                max_steps=40,
                joint_reward=joint_reward,
                success_termination_mode="all",
            )
        ),
        25,
        prepare=bring_closer,
    )
    assert {"rewards", "doors", "left early"} <= happened.keys()


def test_more_doors_than_colours_may_be_passed_by_without_an_end(play_lockstep):
    """Upstream compares the number of unlocked doors with the number of colours for equality."""

    def all_at_once(grid, generator):
        locked = [thing for thing in things(grid) if isinstance(thing, Door)]
        unlock(grid, locked, len(grid.rooms) - 1)
        for agent, door in zip(grid.agents, locked[-2:], strict=True):
            agent.state.carrying = Key(door.color)
            face(grid, agent, door.cur_pos)

    happened = play_lockstep(
        lambda: make_env("MultiGrid-LockedHallway-6Rooms-v0", 2, num_rooms=8, max_steps=15),
        60,
        prepare=all_at_once,
    )
    assert {"successes", "truncations"} <= happened.keys()


def test_who_has_left_before_a_door_is_not_paid_for_it(play_lockstep):
    def goal_before_an_unlocked_door(grid, generator):
        door = next(thing for thing in things(grid) if isinstance(thing, Door))
        door.is_locked = False
        grid.grid.update(*door.cur_pos)
        leaving, staying = grid.agents
        face(grid, leaving, door.cur_pos)
        (x, y), direction = leaving.state.pos, leaving.state.dir
        away = x - int(direction.to_vec()[0])
        grid.grid.set(x, y, Goal())
        grid.grid.set(away, y, None)
        leaving.state.pos = away, y
        staying.state.pos = next(
            (int(a), int(b)) for a, b in np.argwhere(grid.grid.state[..., 0] == 1) if b != y
        )

    happened = play_lockstep(
        lambda: MultiGridParallelEnv(
            LockedHallwayEnv(agents=2, max_steps=10, success_termination_mode="all")
        ),
        60,
        prepare=goal_before_an_unlocked_door,
    )
    assert {"rewards", "left early"} <= happened.keys()
