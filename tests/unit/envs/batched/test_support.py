"""Which environments are recognised, and the reasons given for the others."""

from __future__ import annotations

import numpy as np
import pytest

from empo_rllib.envs.batched.layouts import native_layout
from empo_rllib.envs.batched.support import batched_problem
from empo_rllib.envs.multigrid import MultiGridParallelEnv
from empo_rllib.envs.registry import MULTIGRID_IDS, make_env

from multigrid.base import MultiGridEnv  # isort: skip
from multigrid.core.agent import Agent  # isort: skip
from multigrid.core.grid import Grid  # isort: skip
from multigrid.core.roomgrid import RoomGrid  # isort: skip
from multigrid.core.world_object import Ball, Box, Door, WorldObjMeta  # isort: skip
from multigrid.envs import (  # isort: skip
    BlockedUnlockPickupEnv,
    EmptyEnv,
    LockedHallwayEnv,
    RedBlueDoorsEnv,
)
from multigrid.wrappers import FullyObsWrapper  # isort: skip


class OwnLayout(EmptyEnv):
    metadata = {**EmptyEnv.metadata, "render_fps": 5}

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.layouts = 0

    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)
        self.layouts += 1
        self.put_obj(Box(), *self.corner())

    def place_agent(self, agent, **kwargs):
        return super().place_agent(agent, **kwargs)

    def corner(self):
        return 1, 2

    def render(self):
        return None


class OwnRooms(RoomGrid):
    def __init__(self, **kwargs):
        super().__init__(mission_space="wander", num_cols=2, num_rows=1, **kwargs)

    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)
        self.add_door(0, 0, locked=False, dir=0)


class OwnDoors(RedBlueDoorsEnv):
    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)


class Mixin:
    def helper(self):
        return 1


class Mixed(Mixin, EmptyEnv):
    pass


@pytest.mark.parametrize("env_id", MULTIGRID_IDS)
def test_every_id_is_batched_with_its_own_layouts(env_id):
    env = make_env(env_id, 2)
    assert batched_problem(env) is None
    assert native_layout(env) is not None


@pytest.mark.parametrize("env_class", [OwnLayout, OwnRooms, OwnDoors, Mixed])
def test_a_layout_of_ones_own_is_batched_with_python_layouts(env_class):
    env = MultiGridParallelEnv(env_class(agents=2))
    assert batched_problem(env) is None
    assert native_layout(env) is None


def with_method(base, name):
    def method(self, *args, **kwargs):
        return getattr(super(cls, self), name)(*args, **kwargs)

    cls = type("Mine", (base,), {name: method})
    return cls


@pytest.mark.parametrize("base", [EmptyEnv, RedBlueDoorsEnv])
@pytest.mark.parametrize(
    "name",
    [
        "step",
        "reset",
        "handle_actions",
        "gen_obs",
        "on_success",
        "on_failure",
        "_reward",
        "is_done",
    ],
)
def test_what_a_step_does_may_not_be_overridden(base, name):
    env = MultiGridParallelEnv(with_method(base, name)())
    assert batched_problem(env) == f"Mine overrides {name}()"


class OverridingMixin(MultiGridEnv):
    def handle_actions(self, actions):
        return super().handle_actions(actions)


class BehindTheScenes(RedBlueDoorsEnv, OverridingMixin):
    pass


class Both(RedBlueDoorsEnv, EmptyEnv):
    def __init__(self):
        MultiGridEnv.__init__(self, width=16, height=8)


class Elastic(EmptyEnv):
    @property
    def max_steps(self):
        return 7

    @max_steps.setter
    def max_steps(self, value):
        pass


class Patched(EmptyEnv):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._reward = lambda: 2


class OtherAgent(Agent):
    pass


class OwnGrid(Grid):
    pass


class OnOwnGrid(EmptyEnv):
    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)
        self.grid.__class__ = OwnGrid


class Open(EmptyEnv):
    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)
        self.grid.set(0, 1, Door())


class Forgetful(BlockedUnlockPickupEnv):
    def _gen_grid(self, width, height):
        RoomGrid._gen_grid(self, width, height)


class Timeless(EmptyEnv):
    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)
        self.max_steps = 0


class NoDoors(RedBlueDoorsEnv):
    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)
        self.red_door = None


def agents(*agents):
    return lambda: EmptyEnv(agents=list(agents))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (BehindTheScenes, "OverridingMixin overrides handle_actions()"),
        (Both, "Both inherits from both RedBlueDoorsEnv and EmptyEnv"),
        (Elastic, "Elastic overrides max_steps"),
        (Patched, "Patched sets its own _reward() on the instance"),
        (agents(OtherAgent(0)), "EmptyEnv has an agent of the class OtherAgent"),
        (
            agents(Agent(0, view_size=3), Agent(1, view_size=5)),
            "the agents of EmptyEnv have views of different sizes",
        ),
        (agents(Agent(0, view_size=65)), "the view of 65 cells is larger than 63"),
        (
            lambda: FullyObsWrapper(EmptyEnv()),
            "FullyObsWrapper is a wrapper around the MultiGrid environment",
        ),
        (
            OnOwnGrid,
            "OnOwnGrid: its layout is a OwnGrid of 8 by 8 cells, not a Grid of 8 by 8",
        ),
        (Open, "Open: its layout is open at the border of the grid"),
        (Forgetful, "Forgetful: its layout does not set `obj`"),
        (Timeless, "Timeless: its max_steps is 0"),
        (NoDoors, "NoDoors: its `blue_door` or `red_door` is not a Door"),
    ],
)
def test_the_reason_names_class_and_place(make, reason):
    assert batched_problem(MultiGridParallelEnv(make())) == reason


def test_other_environments_are_no_multigrid():
    class Sub(MultiGridParallelEnv):
        pass

    assert batched_problem(Sub(EmptyEnv())) == "Sub is not a MultiGrid environment"
    cart_pole = make_env("CartPole-v1")
    assert batched_problem(cart_pole) == "GymnasiumParallelEnv is not a MultiGrid environment"


def test_objects_of_ones_own_are_found_in_the_first_layout(toy_class):
    class Toys(EmptyEnv):
        def _gen_grid(self, width, height):
            super()._gen_grid(width, height)
            self.put_obj(Box(contains=toy()), 3, 3)

    def toy():
        return Ball().view(toy_class)

    reason = "Toys: its layout has objects of type Toy"
    assert batched_problem(MultiGridParallelEnv(Toys())) == reason


def test_objects_of_ones_own_in_some_layouts_are_found(toy_class):
    class RareToys(EmptyEnv):
        def _gen_grid(self, width, height):
            super()._gen_grid(width, height)
            if self._rand_float(0, 1) < 0.1:
                self.put_obj(Ball().view(toy_class), 3, 3)

    reason = "RareToys: its layout has objects of type Toy"
    assert batched_problem(MultiGridParallelEnv(RareToys())) == reason


class LongerWhenSlow(EmptyEnv):
    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)
        if getattr(self, "step_count", 0) > 50:
            self.put_obj(Ball(), 3, 3)


class HarderAfterManyWins(EmptyEnv):
    wins = 0

    def _gen_grid(self, width, height):
        self.wins += getattr(self, "step_count", self.max_steps) < self.max_steps
        super()._gen_grid(width, height)
        if self.wins > 1000:
            self.put_obj(Ball(), 3, 3)


class OnTheLastGrid(EmptyEnv):
    def _gen_grid(self, width, height):
        before = self.grid
        super()._gen_grid(width, height)
        if before.get(3, 3) is not None:
            self.put_obj(Ball(), 3, 3)


class OneDoorForAll(EmptyEnv):
    def __init__(self, **kwargs):
        self.door = Door()
        super().__init__(**kwargs)

    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)
        self.put_obj(self.door, 3, 3)


class NoticesTheKey(RoomGrid):
    def __init__(self, **kwargs):
        self.ball = None
        super().__init__(mission_space="wander", num_cols=2, num_rows=1, **kwargs)

    def _gen_grid(self, width, height):
        taken = self.ball is not None and self.ball in [a.carrying for a in self.agents]
        opened = self.ball is not None and self.door.is_open
        super()._gen_grid(width, height)
        self.door, _ = self.add_door(0, 0, locked=False, dir=0)
        self.ball, _ = self.add_object(0, 0, "ball", "red" if taken or opened else "blue")


class OwnRandomNumbers(EmptyEnv):
    random = np.random.default_rng(0)

    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)
        self.put_obj(Ball(), 3, int(self.random.integers(2, 6)))


@pytest.mark.parametrize(
    ("env_class", "reason"),
    [
        (LongerWhenSlow, "LongerWhenSlow read step_count of the episode before"),
        (HarderAfterManyWins, "HarderAfterManyWins read step_count of the episode before"),
        (OnTheLastGrid, "OnTheLastGrid read grid of the episode before"),
        (OneDoorForAll, "OneDoorForAll depend on the episode before"),
        (NoticesTheKey, "NoticesTheKey depend on the episode before"),
        (OwnRandomNumbers, "OwnRandomNumbers differ where the seed is the same"),
    ],
)
def test_a_layout_that_follows_from_more_than_the_seed_is_found(env_class, reason):
    env = MultiGridParallelEnv(env_class(agents=2))
    assert f"the layouts of {reason}" in batched_problem(env)
    assert type(env.env) is env_class


def test_looking_at_layouts_leaves_the_seed_of_the_next_episodes_as_it_was():
    def next_layouts(look):
        env = MultiGridParallelEnv(OwnRooms(agents=2))
        env.reset(seed=5)
        if look:
            assert batched_problem(env) is None
        return [env.reset()[0]["agent_0"]["image"].tolist() for _ in range(3)]

    assert next_layouts(look=True) == next_layouts(look=False)


def test_a_class_in_the_place_of_upstreams_is_found():
    known = dict(WorldObjMeta._TYPE_IDX_TO_CLASS)
    try:

        class MyGoal(Ball):
            type_name = "goal"

        reason = batched_problem(MultiGridParallelEnv(Mixed()))
        of_another = batched_problem(MultiGridParallelEnv(EmptyEnv()))
    finally:
        WorldObjMeta._TYPE_IDX_TO_CLASS.update(known)
    assert reason == "MyGoal takes the place of multigrid's Goal"
    assert of_another is None


def test_a_hallway_needs_its_rooms():
    class NoRooms(LockedHallwayEnv):
        def _gen_grid(self, width, height):
            super()._gen_grid(width, height)
            del self.rooms

    reason = "NoRooms: its layout does not set `rooms`"
    assert batched_problem(MultiGridParallelEnv(NoRooms())) == reason
