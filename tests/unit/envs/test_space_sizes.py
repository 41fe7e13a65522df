"""Spaces without numbers, and with too many categories for a layer, are refused before Ray."""

from __future__ import annotations

import pytest
from gymnasium import spaces

from empo_rllib.algorithms.policies import build_policies
from empo_rllib.config.load import validate_config
from empo_rllib.envs.registry import make_env
from empo_rllib.envs.space_sizes import MAX_CATEGORIES, empty_part, too_many_categories
from empo_rllib.errors import EnvError

NUMBERS = spaces.Box(0, 1, (2,))
NOTHING = spaces.Box(0, 1, (0,))


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (NOTHING, r"observation is a Box of shape \(0,\)"),
        (spaces.Box(0, 1, (3, 0)), r"of shape \(3, 0\)"),
        (spaces.Dict(a=NUMBERS, b=spaces.Tuple((NOTHING,))), r"observation\['b'\]\[0\] is a Box"),
        (spaces.Dict({}), "observation is an empty Dict"),
    ],
)
@pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
def test_an_observation_without_numbers_is_refused(space, words, algorithm):
    with pytest.raises(EnvError, match=words):
        _policies(algorithm, observation_space=space)


@pytest.mark.parametrize(
    ("spaces_", "words"),
    [
        (
            {"observation_space": spaces.Discrete(1_000_000)},
            "observation is a Discrete of 1,000,000 categories: .* at most 100,000 fit",
        ),
        (
            {"observation_space": spaces.Dict(a=spaces.MultiDiscrete([1000] * 101))},
            r"observation\['a'\] is a MultiDiscrete of 101,000 categories",
        ),
        ({"action_space": spaces.Discrete(100_001)}, "action is a Discrete of 100,001 categories"),
    ],
)
def test_too_many_categories_are_refused(spaces_, words):
    with pytest.raises(EnvError, match=f"odd_envs:Room: a: {words}"):
        _policies("PPO", **spaces_)


def test_what_fits_is_accepted():
    for space in (NUMBERS, spaces.Discrete(MAX_CATEGORIES), spaces.MultiBinary(3)):
        assert empty_part(space) is None
        assert too_many_categories(space, "observation") is None


def _policies(algorithm, **own_spaces):
    env = make_env("odd_envs:Room")
    for name, space in own_spaces.items():
        setattr(env, name, lambda agent, space=space: space)
    config = validate_config(
        {"name": "x", "env": {"id": "odd_envs:Room"}, "algorithm": {"name": algorithm}}
    )
    return build_policies(config, env)
