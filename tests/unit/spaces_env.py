"""An environment with any action space, which refuses every action outside it."""

from __future__ import annotations

import json

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

ACTION_SPACES = {
    "discrete": spaces.Discrete(3),
    "discrete-start": spaces.Discrete(3, start=1),
    "discrete-negative": spaces.Discrete(4, start=-2),
    "multi": spaces.MultiDiscrete([2, 3]),
    "multi-start": spaces.MultiDiscrete([2, 3], start=[5, -1]),
    "multi-2d": spaces.MultiDiscrete([[2, 3], [4, 5]]),
    "multi-one": spaces.MultiDiscrete([7]),
    "multi-small-dtype": spaces.MultiDiscrete([2, 3], dtype=np.int8),
    "binary": spaces.MultiBinary(3),
    "binary-2d": spaces.MultiBinary((2, 2)),
    "box": spaces.Box(-1.0, 2.0, (2,)),
    "box-0d": spaces.Box(-1.0, 2.0, ()),
    "box-2d": spaces.Box(0.0, 1.0, (2, 3)),
    "box-3d-float64": spaces.Box(-5.0, 5.0, (1, 2, 2), np.float64),
    "box-half": spaces.Box(np.array([0.0, -np.inf], np.float32), np.array([np.inf, 1], np.float32)),
    "box-free": spaces.Box(-np.inf, np.inf, (2,)),
    "box-point": spaces.Box(1.0, 1.0, (1,)),
    "box-whole": spaces.Box(-2, 2, (2,), np.int8),
    "box-bytes": spaces.Box(0, 255, (2,), np.uint8),
}


class Acted(ParallelEnv):
    """Two agents act for four steps in a space of `ACTION_SPACES`; every action is checked."""

    metadata = {"name": "acted"}
    render_mode = None

    def __init__(self, action="discrete"):
        self.possible_agents = ["a", "b"]
        self.agents = []
        self.space = ACTION_SPACES[action]
        self.seen = {agent: spaces.Box(-1.0, 1.0, (3,)) for agent in self.possible_agents}
        self.played = []

    def observation_space(self, agent):
        return self.seen[agent]

    def action_space(self, agent):
        return self.space

    def reset(self, seed=None, options=None):
        self.agents = list(self.possible_agents)
        self.moment = 0
        self.rng = np.random.default_rng(seed)
        return self._look(), {agent: {} for agent in self.agents}

    def step(self, actions):
        for action in actions.values():
            assert self.space.contains(action), action
            if isinstance(self.space, spaces.Discrete):
                json.dumps(action)  # a plain number, as environments index and write with
            else:
                assert action.dtype == self.space.dtype
                assert action.flags.writeable
        self.played.append(actions)
        self.moment += 1
        over = dict.fromkeys(self.agents, self.moment == 4)
        if self.moment == 4:
            self.agents = []
        alive = dict.fromkeys(over, False)
        return self._look(over), dict.fromkeys(over, 1.0), alive, over, {a: {} for a in over}

    def _look(self, agents=None):
        return {
            agent: self.rng.uniform(-1, 1, 3).astype(np.float32) for agent in agents or self.agents
        }
