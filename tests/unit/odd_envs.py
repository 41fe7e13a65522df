"""Environments that do what nobody expects; `odd_envs:Endless` and so on in `env.id`."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv


class Room(ParallelEnv):
    """Two agents; each step pays 1. Ends after `length` steps."""

    metadata = {"name": "room", "render_modes": ["rgb_array"]}
    length = 5
    width = 2
    agents_there = ("a", "b")

    def __init__(self, render_mode=None):
        self.render_mode = render_mode
        self.possible_agents = list(self.agents_there)
        space = spaces.Box(0, 1, (self.width,), np.float32)
        self._spaces = dict.fromkeys(self.possible_agents, space)
        self._actions = {agent: spaces.Discrete(2) for agent in self.possible_agents}

    def observation_space(self, agent):
        return self._spaces[agent]

    def action_space(self, agent):
        return self._actions[agent]

    def reset(self, seed=None, options=None):
        self.agents, self.moment = self.possible_agents[:], 0
        return self._look(), {agent: {} for agent in self.agents}

    def step(self, actions):
        self.moment += 1
        acting, over = self.agents, self.moment == self.length
        self.agents = [] if over else acting
        never, ends = dict.fromkeys(acting, False), dict.fromkeys(acting, over)
        infos = {agent: {} for agent in acting}
        return self._look(), dict.fromkeys(acting, 1.0), never, ends, infos

    def _look(self):
        numbers = np.full(self.width, self.moment % 7 / 7, np.float32)
        return {agent: numbers.copy() for agent in self.possible_agents}

    def render(self):
        return np.full((40, 60, 3), self.moment % 200, np.uint8)


class Endless(Room):
    """Goes on for ever."""

    length = -1


class SometimesEndless(Room):
    """Ends after 5 steps where the seed is even."""

    def reset(self, seed=None, options=None):
        self.length = -1 if seed % 2 else 5
        return super().reset(seed, options)


class BrokenReset(Room):
    """Needs a screen."""

    def reset(self, seed=None, options=None):
        raise RuntimeError("No available video device: cannot connect to display")


class BrokenStep(Room):
    """Fails in its third step."""

    def step(self, actions):
        if self.moment == 2:
            raise ZeroDivisionError("the sensor is unplugged")
        return super().step(actions)


class BrokenRender(Room):
    """Needs a package to draw that nobody has."""

    def render(self):
        import package_that_nobody_has  # noqa: F401


class NoPicture(Room):
    """Draws nothing."""

    def render(self):
        return None


class Fractions(Room):
    """Draws with numbers from 0 to 1, as plots do."""

    def render(self):
        return np.full((40, 60, 3), 0.5)


class Black(Room):
    """Its picture stays black."""

    def _look(self):
        return {agent: np.zeros(self.width, np.float32) for agent in self.possible_agents}
