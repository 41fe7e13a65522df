"""Observations as leaves, and agents grouped by their spaces."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from empo_rllib.envs.vector_env import ObservationLeaves, group_agents

NESTED = spaces.Dict(
    {
        "map": spaces.Box(0, 255, (4, 4, 3), np.uint8),
        "self": spaces.Tuple((spaces.Discrete(3), spaces.MultiBinary(5))),
        "speed": spaces.Box(-1.0, 1.0, (2,)),
    }
)


def equal(left, right) -> bool:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[k], right[k]) for k in left)
    if isinstance(left, tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    return np.array_equal(left, right)


def test_any_nesting_comes_back_from_its_leaves():
    observation = NESTED.sample()
    leaves = ObservationLeaves(NESTED)
    assert equal(leaves.unflatten(leaves.flatten(observation)), dict(observation))


def test_leaves_have_the_shape_and_dtype_of_the_space():
    kept = ObservationLeaves(NESTED).blank(7, 2)
    assert [leaf.shape for leaf in kept] == [(7, 2, 4, 4, 3), (7, 2), (7, 2, 5), (7, 2, 2)]
    assert [leaf.dtype for leaf in kept] == [np.uint8, np.int64, np.int8, np.float32]


def test_what_is_shown_for_an_agent_that_is_not_there_is_of_its_space():
    space = spaces.Tuple(
        (
            spaces.Discrete(3, start=5),
            spaces.MultiDiscrete([2, 3], start=[1, 4]),
            spaces.Box(2.0, 3.0, (2,)),
            spaces.MultiBinary(2),
        )
    )
    leaves = ObservationLeaves(space)
    assert space.contains(leaves.unflatten([leaf[0, 1] for leaf in leaves.blank(1, 2)]))


def test_a_plain_space_is_one_leaf():
    leaves = ObservationLeaves(spaces.Discrete(4))
    assert leaves.unflatten(leaves.flatten(3)) == 3


def test_agents_with_the_same_spaces_stand_together():
    small, large = spaces.Discrete(2), spaces.Discrete(5)
    groups = group_agents(
        ["a", "b", "c", "d"],
        {"a": small, "b": large, "c": small, "d": small},
        {"a": small, "b": small, "c": small, "d": large},
    )
    assert [group.columns for group in groups] == [(0, 2), (1,), (3,)]
    assert groups[1].observation_space == large
    assert groups[2].action_space == large
