"""The kit for authors of environments finds what `doctor` finds."""

from __future__ import annotations

import functools

import broken_envs
import gymnasium as gym
import pytest
from broken_envs import BROKEN, Healthy
from games import Game

from empo_rllib.doctor.kinds import level_of
from empo_rllib.errors import EnvError
from empo_rllib.testing import check_env

ERRORS = [name for name, found in BROKEN.items() if level_of(found) == "error"]


@pytest.mark.parametrize(
    "env",
    [
        "broken_envs:Healthy",
        Healthy,
        Healthy(),
        lambda: Healthy(),
        functools.partial(Game, "turns"),
        lambda: gym.make("CartPole-v1"),
        "MultiGrid-Empty-5x5-v0",
    ],
    ids=["id", "class", "object", "function", "partial", "gymnasium", "MultiGrid"],
)
def test_what_is_fit_passes(env):
    report = check_env(env)
    assert report.exit_code == 0
    assert report.random_policy.episode_length is not None


@pytest.mark.parametrize("name", [name for name in ERRORS if name not in ("Hangs", "GymReset")])
def test_an_error_fails_the_test_and_says_what_and_where(name):
    with pytest.raises(AssertionError) as failure:
        check_env(getattr(broken_envs, name))
    text = str(failure.value)
    assert f"broken_envs:{name} is not fit for training" in text
    assert f"{BROKEN[name]} (" in text
    assert "broken_envs.py:" in text
    assert "cure: " in text


def test_findings_can_be_accepted():
    report = check_env(broken_envs.OutOfBounds, ignore=["observation-outside-space"])
    assert [one.name for one in report.findings] == ["observation-outside-space"]


def test_warnings_pass_and_are_told():
    assert [one.name for one in check_env(broken_envs.Float64).findings] == [
        "observation-wrong-dtype"
    ]


def test_what_is_no_environment_is_told():
    with pytest.raises(EnvError, match="made a int, which is no environment"):
        check_env(lambda: 3)
