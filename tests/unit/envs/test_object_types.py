"""An environment knows its own types of objects, whatever else the process has imported."""

from __future__ import annotations

import importlib
import sys

import pytest

from empo_rllib.envs.registry import make_env

from multigrid.core.constants import Type  # isort: skip
from multigrid.core.world_object import WorldObjMeta  # isort: skip

TOYS = """
from multigrid.core.world_object import WorldObj


class {name}(WorldObj):
    def can_overlap(self):
        return True


class {name}Goal(WorldObj):
    type_name = "goal"
"""
ENV = """
from multigrid.envs import EmptyEnv

from {toys} import {name}


class {name}Env(EmptyEnv):
    def __init__(self, **kwargs):
        super().__init__(**{{"agents": 1, "agent_start_pos": (1, 1), "size": 5, **kwargs}})

    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)
        self.put_obj({name}(), 2, 1)
"""


@pytest.fixture
def two_packages(tmp_path, monkeypatch):
    """Writes `first_env` and `second_env`, with objects from modules of their own."""
    for name in ("first", "second"):
        toys, env = f"{name}_toys", f"{name}_env"
        (tmp_path / f"{toys}.py").write_text(TOYS.format(name=name.title()))
        (tmp_path / f"{env}.py").write_text(ENV.format(toys=toys, name=name.title()))
    monkeypatch.syspath_prepend(tmp_path)
    classes = dict(WorldObjMeta._TYPE_IDX_TO_CLASS)
    yield
    # `Type` keeps its new members: nothing here goes by their number.
    WorldObjMeta._TYPE_IDX_TO_CLASS.clear()
    WorldObjMeta._TYPE_IDX_TO_CLASS.update(classes)
    for name in ("first_toys", "second_toys", "first_env", "second_env"):
        sys.modules.pop(name, None)


def look(env_id):
    """Returns the largest type of an environment's images, that of its toy, and what is a goal."""
    env = make_env(env_id)
    observations, _ = env.reset(seed=0)
    image = observations["agent_0"]["image"]
    assert env.observation_space("agent_0")["image"].contains(image)
    before_agent = image[image.shape[0] // 2, -2]
    with env.object_types.active():
        goal = type(env.env.grid.get(3, 3)).__name__
    return int(env.observation_space("agent_0")["image"].high[0, 0, 0]), int(before_agent[0]), goal


def test_spaces_observations_and_objects_do_not_depend_on_other_imports(two_packages):
    for name in ("first_env", "second_env"):
        importlib.import_module(name)
    alone = int(Type.agent)
    assert look("first_env:FirstEnv") == (alone + 1, alone + 1, "FirstGoal")
    assert look("second_env:SecondEnv") == (alone + 1, alone + 1, "SecondGoal")
    high, seen, goal = look("MultiGrid-Empty-5x5-v0")
    assert (high, goal) == (alone, "Goal")
    assert seen < high
