"""What is called to make an environment, and what is not."""

from __future__ import annotations

import functools
import json
import os
import subprocess

import gymnasium as gym
import numpy as np
import pytest
import torch
from pettingzoo import AECEnv, ParallelEnv

from empo_rllib.envs.factories import check_makes_environments
from empo_rllib.errors import EnvError
from empo_rllib.results.output import write_output


class Own(ParallelEnv):
    """A user's."""


class Turns(AECEnv):
    """A user's too."""


def make(size=1):
    return Own()


def elsewhere(source):
    """A function of a module that has nothing else in it."""
    names = {"__name__": "somebodys_module"}
    exec(compile(source, "somebodys_module.py", "exec", dont_inherit=True), names)
    return names["make"]


ANNOTATED = elsewhere("""
import typing
import pettingzoo as p
def make() -> p.ParallelEnv:
    return typing.cast("p", None)
del p
""")
LAZY = elsewhere("""
def make():
    import pettingzoo.mpe
    return pettingzoo.mpe
""")


WRAPS = elsewhere("""
from empo_rllib import make_env
def make():
    return make_env("CartPole-v1")
""")


@pytest.mark.parametrize(
    "factory",
    [Own, Turns, gym.Env, make, functools.partial(make, size=2), gym.make, ANNOTATED, LAZY, WRAPS],
)
def test_what_makes_environments_is_called(factory):
    check_makes_environments("x:y", factory)


@pytest.mark.parametrize(
    "factory",
    [
        os.system,
        subprocess.run,
        subprocess.Popen,
        json.load,
        torch.load,
        np.load,
        exec,
        functools.partial(os.system, "true"),
        dict,
        elsewhere("def make(): return 3"),
        write_output,
        gym.register,
    ],
)
def test_what_has_nothing_to_do_with_environments_is_not(factory):
    with pytest.raises(EnvError, match=r"env\.id = 'x:y' is "):
        check_makes_environments("x:y", factory)
