"""An observation against its space."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from empo_rllib.envs.observations import observation_problems

UNIT = spaces.Box(0.0, 1.0, (2,), np.float32)
PICTURE = spaces.Box(0, 10, (2, 2), np.uint8)
NESTED = spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Tuple([UNIT, PICTURE])})


def f32(*numbers):
    return np.array(numbers, np.float32)


@pytest.mark.parametrize(
    ("space", "seen"),
    [
        (UNIT, f32(0, 1)),
        (UNIT, np.array([0, 1], np.float16)),
        (spaces.Box(0.0, 0.1, (1,)), f32(0.1)),
        (spaces.Box(-np.inf, np.inf, (1,)), f32(1e30)),
        (spaces.Box(0.0, 1.0, ()), 0.5),
        (PICTURE, np.full((2, 2), 10, np.uint8)),
        (spaces.Discrete(3), 2),
        (spaces.Discrete(3), np.uint8(2)),
        (spaces.Discrete(3, start=-1), np.int32(-1)),
        (spaces.MultiDiscrete([2, 3], start=[0, 5]), np.array([1, 7])),
        (spaces.MultiBinary(2), np.array([0, 1], np.int8)),
        (spaces.Text(5), "abc"),
        (NESTED, {"a": 1, "b": (f32(0, 1), np.zeros((2, 2), np.uint8))}),
    ],
)
def test_an_observation_of_the_space_has_no_problems(space, seen):
    assert list(observation_problems(space, seen)) == []
    if not isinstance(seen, float):  # Gymnasium warns of numbers of Python's
        assert space.contains(seen)


@pytest.mark.parametrize(
    ("space", "seen", "name", "words"),
    [
        (UNIT, [0.0, 1.0], "wrong-structure", "observation is a list, where the space has an"),
        (UNIT, None, "wrong-structure", "observation is None"),
        (UNIT, np.array(["a", "b"]), "wrong-structure", "which holds no numbers"),
        (spaces.Discrete(3), None, "wrong-structure", "where the space has a number"),
        (NESTED, f32(0), "wrong-structure", "is a ndarray, where the space is a Dict"),
        (NESTED, {"b": (f32(0, 1), None)}, "wrong-structure", "has no 'a'"),
        (spaces.Tuple([UNIT]), (), "wrong-structure", "a tuple of 0, where the space is a Tuple"),
        (UNIT, f32(0, 1, 2), "wrong-shape", "has shape (3,), not (2,)"),
        (UNIT, np.array([0.0, 1.0]), "wrong-dtype", "has dtype float64, the space float32"),
        (PICTURE, np.zeros((2, 2), np.int64), "wrong-dtype", "int64"),
        (PICTURE, np.zeros((2, 2)), "loses-values", "float64, the space uint8"),
        (spaces.Discrete(3), 1.5, "loses-values", "float64"),
        (UNIT, f32(0, np.nan), "not-finite", "observation[1] = nan"),
        (UNIT, f32(0, np.inf), "not-finite", "observation[1] = inf"),
        (UNIT, f32(-0.5, 9), "outside-space", "observation[0] = -0.5 is below the bound 0.0"),
        (PICTURE, np.full((2, 2), 11, np.uint8), "outside-space", "[0, 0] = 11 is above"),
        (spaces.Discrete(3), 3, "outside-space", "observation = 3 is above the bound 2"),
        (spaces.Discrete(3, start=5), 4, "outside-space", "is below the bound 5"),
        (spaces.MultiDiscrete([2, 3]), np.array([1, 3]), "outside-space", "[1] = 3 is above"),
        (spaces.MultiBinary(2), np.array([0, 2], np.int8), "outside-space", "above the bound 1"),
        (spaces.Text(3), "abcd", "outside-space", "observation = 'abcd' is not in Text"),
    ],
)
def test_what_is_wrong_is_named_with_place_and_value(space, seen, name, words):
    found_name, found = next(iter(observation_problems(space, seen)))
    assert found_name == f"observation-{name}"
    assert words in found


def test_a_part_is_named_by_its_path():
    seen = {"a": 1, "b": (f32(0, 5), np.zeros((2, 2), np.uint8)), "c": 1}
    assert list(observation_problems(NESTED, seen)) == [
        ("observation-wrong-structure", "observation has 'c', which the space has not"),
        ("observation-outside-space", "observation['b'][0][1] = 5.0 is above the bound 1.0"),
    ]
