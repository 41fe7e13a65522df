"""A competitive environment of one's own: what one agent wins, the other loses.

python -m empo_rllib doctor examples.competitive:Tag
python -m empo_rllib.tune --config examples/competitive.yaml
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

MOVES = np.array([(0, 0), (1, 0), (0, 1), (-1, 0), (0, -1)])


class Tag(ParallelEnv):
    """A tagger chases a runner over a square board; the runner stumbles now and then.

    Description:
        Both move at the same time, one cell or none. A quarter of the runner's moves fail, so that
        a tagger that closes in wins; on a board without stumbling a runner can always get away.
    Actions:
        Discrete(5): 0 stay, 1 right, 2 down, 3 left, 4 up. Walls stop a move.
    Observations:
        MultiDiscrete, four numbers below `size`: own column and row, those of the other.
    Rewards:
        Opposed: a catch (same cell, or places changed) is 1 for the tagger and -1 for the runner.
        At every other step the tagger pays the runner `1 / max_steps`.
    Termination:
        At a catch; cut off after `max_steps`.
    Ids:
        `examples.competitive:Tag`

    Infos of the last step hold `success`: whether the runner was caught.

    Args:
        size: columns and rows of the board.
        max_steps: when an episode is cut off.
        stumbling: the share of the runner's moves that fail.
        render_mode: `rgb_array`, or None.
    """

    metadata = {"name": "tag_v0", "render_modes": ["rgb_array"], "render_fps": 5}

    def __init__(
        self,
        size: int = 7,
        max_steps: int = 40,
        stumbling: float = 0.25,
        render_mode: str | None = None,
    ) -> None:
        self.size, self.max_steps, self.stumbling = size, max_steps, stumbling
        self.render_mode = render_mode
        self.possible_agents = ["tagger", "runner"]
        self.agents: list[str] = []
        self._seen = {agent: spaces.MultiDiscrete([size] * 4) for agent in self.possible_agents}
        self._acts = {agent: spaces.Discrete(len(MOVES)) for agent in self.possible_agents}
        self._random = np.random.default_rng()

    def observation_space(self, agent: str) -> spaces.MultiDiscrete:
        return self._seen[agent]

    def action_space(self, agent: str) -> spaces.Discrete:
        return self._acts[agent]

    def get_action_meanings(self) -> list[str]:
        return ["stay", "right", "down", "left", "up"]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict]]:
        if seed is not None:  # a reset without one goes on with the same numbers
            self._random = np.random.default_rng(seed)
        self.agents = self.possible_agents[:]
        self._moment = 0
        cells = self._random.choice(self.size**2, size=2, replace=False)
        self._places = np.stack([cells % self.size, cells // self.size], axis=1)
        return self._look(), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, int]) -> tuple[dict, dict, dict, dict, dict]:
        moves = MOVES[[int(actions[agent]) for agent in self.possible_agents]]
        if self._random.random() < self.stumbling:
            moves[1] = 0
        before, self._moment = self._places, self._moment + 1
        self._places = np.clip(before + moves, 0, self.size - 1)
        met = (self._places[0] == self._places[1]).all()
        caught = bool(met or (self._places == before[::-1]).all())
        late = self._moment >= self.max_steps and not caught
        won = 1.0 if caught else -1.0 / self.max_steps
        agents = self.agents
        if caught or late:
            self.agents = []
        infos = {agent: {} if self.agents else {"success": caught} for agent in agents}
        rewards = {"tagger": won, "runner": -won}
        ended = dict.fromkeys(agents, caught), dict.fromkeys(agents, late)
        return self._look(), rewards, *ended, infos

    def render(self) -> np.ndarray:
        """Returns uint8 pixels, the tagger red and the runner blue."""
        board = np.full((self.size, self.size, 3), 235, np.uint8)
        for (column, row), colour in zip(self._places, ((200, 60, 50), (50, 90, 200)), strict=True):
            board[row, column] = colour
        return board.repeat(32, axis=0).repeat(32, axis=1)

    def _look(self) -> dict[str, np.ndarray]:
        both = self._places.flatten()
        return {"tagger": both, "runner": both[[2, 3, 0, 1]]}
