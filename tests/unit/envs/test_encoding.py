from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from empo_rllib.envs.encoding import (
    MULTIGRID_COLORS,
    MULTIGRID_STATES,
    MULTIGRID_TYPES,
    flat_size,
    flat_space,
    flatten,
    grid_channels,
)
from empo_rllib.envs.registry import make_env
from empo_rllib.errors import EnvError

SPACES = {
    "discrete": spaces.Discrete(4, start=2),
    "multi_discrete": spaces.MultiDiscrete([3, 2], start=[0, 5]),
    "multi_binary": spaces.MultiBinary(5),
    "box": spaces.Box(-2.0, 3.0, (2, 3)),
    "unbounded_box": spaces.Box(-np.inf, np.inf, (4,), dtype=np.float64),
    "integer_box": spaces.Box(0, 20, (3,), dtype=np.int64),
    "picture": spaces.Box(0, 255, (4, 5, 3), dtype=np.uint8),
    "tuple": spaces.Tuple([spaces.Discrete(2), spaces.Box(0.0, 1.0, (3,))]),
    "nested": spaces.Dict({"b": spaces.Dict({"c": spaces.Discrete(3)}), "a": spaces.Discrete(2)}),
}


@pytest.mark.parametrize("name", SPACES)
def test_a_flat_observation_is_float32_of_the_stated_size_and_inside_the_flat_space(name):
    space = SPACES[name]
    space.seed(0)
    for _ in range(20):
        flat = flatten(space, space.sample())
        assert flat.shape == (flat_size(space),)
        assert flat.dtype == np.float32
        assert flat_space(space).contains(flat)


def test_different_observations_stay_different():
    space = spaces.Dict(SPACES)
    space.seed(1)
    flats = [flatten(space, space.sample()) for _ in range(50)]
    assert len({flat.tobytes() for flat in flats}) == 50


def test_categories_become_one_hot_blocks():
    assert flatten(SPACES["discrete"], 3).tolist() == [0, 1, 0, 0]
    assert flatten(SPACES["multi_discrete"], np.array([2, 5])).tolist() == [0, 0, 1, 1, 0]


def test_a_picture_is_scaled_to_one():
    space = SPACES["picture"]
    assert flatten(space, np.full(space.shape, 255, np.uint8)).max() == pytest.approx(1.0)


def test_a_dict_is_flattened_in_the_order_of_its_space():
    observation = {"a": 1, "b": {"c": 2}}
    assert flatten(SPACES["nested"], observation).tolist() == [0, 1, 0, 0, 1]


def test_a_multigrid_image_becomes_one_hot_of_type_colour_and_state_per_cell():
    env = make_env("MultiGrid-Empty-5x5-v0")
    space = env.observation_space("agent_0")["image"]
    image = env.reset(seed=0)[0]["agent_0"]["image"]
    cells = flatten(space, image).reshape(*image.shape[:2], -1)

    assert grid_channels(space) == (MULTIGRID_TYPES, MULTIGRID_COLORS, MULTIGRID_STATES)
    types, colors, states = np.split(cells, np.cumsum(grid_channels(space))[:2], axis=-1)
    for channel, one_hot in enumerate((types, colors, states)):
        assert (one_hot.sum(axis=-1) == 1).all()
        assert (one_hot.argmax(axis=-1) == image[..., channel]).all()


@pytest.mark.parametrize("name", SPACES)
def test_other_spaces_are_not_taken_for_grids(name):
    assert grid_channels(SPACES[name]) is None


def test_a_space_without_fixed_size_is_refused():
    with pytest.raises(EnvError, match="Text has no flat form"):
        flat_size(spaces.Text(5))
