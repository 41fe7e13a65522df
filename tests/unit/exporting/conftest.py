from __future__ import annotations

import functools
import sys

import pytest
from torch.onnx._internal.exporter._registration import ONNXRegistry

from empo_rllib.exporting import check

# What users may write: environments with unusual spaces, and networks of their own.
OWN_CODE = '''
import numpy as np
import torch
from gymnasium import spaces
from pettingzoo import ParallelEnv
from ray.rllib.core.columns import Columns

from empo_rllib.rl_modules.actor_critic import ActorCritic

OBSERVATIONS = {
    "nested": spaces.Dict({
        "b.c": spaces.Tuple([spaces.MultiBinary(3), spaces.Box(0, 255, (2, 2, 3), np.uint8)]),
        "a": spaces.MultiDiscrete([3, 4], start=[1, 0]),
        "far": spaces.Box(-np.inf, np.inf, (2,), np.float64),
        "count": spaces.Discrete(5, start=-2),
    }),
    "picture": spaces.Box(0, 255, (12, 14, 3), np.uint8),
    "words": spaces.Text(4),
}
ACTIONS = {
    "discrete": spaces.Discrete(4),
    "multi": spaces.MultiDiscrete([2, 5, 3]),
    "box": spaces.Box(np.array([-1.0, 2.0]), np.array([0.0, 9.0]), dtype=np.float64),
    "free": spaces.Box(-np.inf, np.inf, (3,), np.float32),
    "start": spaces.Discrete(4, start=-1),
    "square": spaces.MultiDiscrete([[2, 3], [4, 5]], start=[[1, 2], [3, 4]], dtype=np.int16),
    "both": spaces.Dict({"turn": spaces.Discrete(2), "speed": spaces.Discrete(3)}),
}


class Any_(ParallelEnv):
    metadata = {"name": "any", "render_modes": []}
    render_mode = None

    def __init__(self, observations, actions, num_agents):
        self.possible_agents = [f"agent_{i}" for i in range(num_agents)]
        self.spaces = {
            a: (OBSERVATIONS[observations], ACTIONS[actions]) for a in self.possible_agents
        }

    def observation_space(self, agent):
        return self.spaces[agent][0]

    def action_space(self, agent):
        return self.spaces[agent][1]

    def reset(self, seed=None, options=None):
        self.agents = self.possible_agents[:]
        self.step_count = 0
        if seed is not None:
            for observations, _ in self.spaces.values():
                observations.seed(seed)
        return self._observe(), {a: {} for a in self.agents}

    def _observe(self):
        return {a: self.observation_space(a).sample() for a in self.agents}

    def step(self, actions):
        for agent, action in actions.items():
            assert self.action_space(agent).contains(action), action
        self.step_count += 1
        observations, agents, over = self._observe(), self.agents, self.step_count == 10
        self.agents = [] if over else agents
        flags = dict.fromkeys(agents, over)
        rewards, cut_off = dict.fromkeys(agents, 0.0), dict.fromkeys(agents, False)
        return observations, rewards, flags, cut_off, {a: {} for a in agents}


def make(observations="nested", actions="discrete", num_agents=2):
    return Any_(observations, actions, num_agents)


class Plain(ActorCritic):
    """Works."""


class TakesLen(ActorCritic):
    """Fixes the size of batches."""

    def _forward(self, batch, **kwargs):
        outputs = super()._forward(batch, **kwargs)
        logits = outputs[Columns.ACTION_DIST_INPUTS]
        return {Columns.ACTION_DIST_INPUTS: logits + torch.zeros(len(logits), 1)}


class Branches(ActorCritic):
    """Does what depends on numbers, which no trace can tell."""

    def _forward(self, batch, **kwargs):
        outputs = super()._forward(batch, **kwargs)
        if outputs[Columns.ACTION_DIST_INPUTS].sum() > 0:
            return {Columns.ACTION_DIST_INPUTS: -outputs[Columns.ACTION_DIST_INPUTS]}
        return outputs


class Noisy(ActorCritic):
    """Decides with random numbers, greedy or not."""

    def _forward(self, batch, **kwargs):
        logits = super()._forward(batch, **kwargs)[Columns.ACTION_DIST_INPUTS]
        return {Columns.ACTION_DIST_INPUTS: torch.rand_like(logits)}


class Decides(ActorCritic):
    """Returns actions itself."""

    def _forward(self, batch, **kwargs):
        logits = super()._forward(batch, **kwargs)[Columns.ACTION_DIST_INPUTS]
        return {Columns.ACTIONS: logits.argmax(-1)}


class Explores(ActorCritic):
    """Explores otherwise than by its greedy probabilities."""

    def _forward_exploration(self, batch, **kwargs):
        logits = self._forward(batch)[Columns.ACTION_DIST_INPUTS]
        return {Columns.ACTION_DIST_INPUTS: logits * 0}
'''


@pytest.fixture(scope="session", autouse=True)
def one_onnx_registry():
    """torch translates its thousand functions into ONNX anew for each network: here once."""
    with pytest.MonkeyPatch.context() as patch:
        made_once = functools.cache(ONNXRegistry.from_torchlib)
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(made_once))
        yield


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    """A module `own_code` of a user's."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "own_code.py").write_text(OWN_CODE)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(check, "NUM_OBSERVATIONS", 100)
    yield
    sys.modules.pop("own_code", None)
