"""What policies choose from, and what environments get of it."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces
from spaces_env import ACTION_SPACES

from empo_rllib.envs.actions import adapt_action
from empo_rllib.errors import EnvError


@pytest.mark.parametrize("name", ACTION_SPACES)
def test_every_choice_is_an_action(name):
    space = ACTION_SPACES[name]
    policy_space, to_env = adapt_action(space)
    policy_space.seed(0)

    actions = [to_env(policy_space.sample()) for _ in range(300)]

    assert all(space.contains(action) for action in actions)
    assert len(policy_space.shape) <= 1
    assert isinstance(policy_space, spaces.Discrete | spaces.MultiDiscrete | spaces.Box)
    if not isinstance(policy_space, spaces.Box):
        assert np.all(np.asarray(policy_space.start) == 0)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3, start=-1),
        spaces.MultiDiscrete([[2, 3], [2, 2]], start=[[5, -1], [0, 1]]),
        spaces.MultiBinary((2, 2)),
        spaces.Box(-1, 1, (3,), np.int16),
    ],
)
def test_every_action_is_a_choice(space):
    policy_space, to_env = adapt_action(space)
    space.seed(0)
    wanted = {np.asarray(space.sample()).tobytes() for _ in range(2000)}
    policy_space.seed(0)
    made = {np.asarray(to_env(policy_space.sample()), space.dtype).tobytes() for _ in range(2000)}
    assert made == wanted


def test_numbers_keep_their_places():
    _, to_env = adapt_action(spaces.MultiDiscrete([[2, 3], [4, 5]], start=[[10, 20], [30, 40]]))
    assert to_env(np.array([1, 2, 3, 4])).tolist() == [[11, 22], [33, 44]]
    _, to_env = adapt_action(spaces.Box(0.0, 1.0, (2, 2)))
    assert to_env(np.array([0.0, 0.25, 0.5, 7.0])).tolist() == [[0.0, 0.25], [0.5, 1.0]]


def test_an_environment_may_change_its_actions():
    chosen = np.array([0.5, 0.5], np.float32)
    for space in (spaces.Box(0.0, 1.0, (2,)), spaces.MultiDiscrete([2, 2])):
        given = adapt_action(space)[1](chosen)
        given += 1
        assert chosen.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("space", "told"),
    [
        (
            spaces.Box(0, 1000, (2,), np.int64),
            "1,001 values; policies choose among at most",
        ),
        (spaces.Box(0.0, 1.0, (0,)), "nothing to choose"),
        (spaces.Box(0.0, 1.0, (2, 0)), "nothing to choose"),
    ],
)
def test_nothing_and_too_much_to_choose_are_refused(space, told):
    with pytest.raises(EnvError, match=told):
        adapt_action(space)


def test_structures_are_left_to_networks_of_the_users_own():
    space = spaces.Tuple([spaces.Discrete(2), spaces.Discrete(3, start=1)])
    same, to_env = adapt_action(space)
    assert same is space
    assert to_env((1, 2)) == (1, 2)
