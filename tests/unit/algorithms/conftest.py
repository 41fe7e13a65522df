from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from gymnasium import spaces
from pettingzoo import ParallelEnv

from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.load import validate_config


class WalkEnv(ParallelEnv):
    """Two steps; observations are the moment.

    Args:
        num_agents: how many there are.
        wide_agent: an agent with a larger observation than the others.
        raises_in: `reset` or `step`.
        continuous: whether actions are numbers.
    """

    opened = 0

    def __init__(self, num_agents=3, wide_agent=None, raises_in=None, continuous=False):
        type(self).opened += 1
        self.metadata = {"name": "walk", "render_modes": []}
        self.render_mode = None
        self.possible_agents = [f"agent_{i}" for i in range(num_agents)]
        self.agents = []
        self.raises_in = raises_in
        self.continuous = continuous
        self._spaces = {
            agent: spaces.Box(0.0, 9.0, (3 if agent == wide_agent else 2,))
            for agent in self.possible_agents
        }

    def observation_space(self, agent):
        return self._spaces[agent]

    def action_space(self, agent):
        return spaces.Box(-1.0, 1.0, (2,)) if self.continuous else spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        if self.raises_in == "reset":
            raise RuntimeError("the floor is wet")
        self.moment = 0
        self.agents = list(self.possible_agents)
        return self._look(), {agent: {} for agent in self.agents}

    def step(self, actions):
        if self.raises_in == "step":
            raise RuntimeError("the floor is wet")
        self.moment += 1
        over = dict.fromkeys(self.agents, self.moment == 2)
        parts = self._look(), dict.fromkeys(self.agents, 1.0), over, dict.fromkeys(self.agents, 0)
        infos = {agent: {} for agent in self.agents}
        self.agents = [] if self.moment == 2 else self.agents
        return *parts, infos

    def close(self):
        type(self).opened -= 1

    def _look(self):
        return {
            agent: np.full(space.shape, self.moment, np.float32)
            for agent, space in self._spaces.items()
        }


@pytest.fixture
def walk_env():
    """Returns the class of the environment `walk_envs:WalkEnv`."""
    return WalkEnv


@pytest.fixture
def own_code(monkeypatch):
    """Makes a module `own_code`, as users have theirs, and returns it."""
    module = types.ModuleType("own_code")
    module.__spec__ = None
    monkeypatch.setitem(sys.modules, "own_code", module)
    return module


@pytest.fixture
def experiment(own_code):
    """Returns a function that builds an experiment on three walking agents.

    Its arguments are sections of the file; `params` and `algorithm` are those of the algorithm,
    `env` the keyword arguments of the environment.
    """
    WalkEnv.opened = 0
    own_code.WalkEnv = WalkEnv

    def build(algorithm="PPO", params=None, callbacks=(), env=None, **sections):
        num_agents = (env or {}).pop("num_agents", None)
        if "Discrete" not in ALGORITHMS[algorithm].action_spaces:
            env = {"continuous": True, **(env or {})}
        return validate_config(
            {
                "name": "run",
                "env": {
                    "id": "own_code:WalkEnv",
                    "num_agents": num_agents,
                    "kwargs": env or {},
                },
                "algorithm": {
                    "name": algorithm,
                    "params": params or {},
                    "callbacks": list(callbacks),
                },
                **sections,
            }
        )

    return build
