"""An environment of one's own with action masks: moves into walls are never asked for.

python -m empo_rllib doctor examples.masked:Couriers
python -m empo_rllib.tune --config examples/masked.yaml
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

MOVES = np.array([(0, 0), (1, 0), (0, 1), (-1, 0), (0, -1)])


class Couriers(ParallelEnv):
    """Couriers walk through a block of houses, each to an address of its own.

    Description:
        The streets are the cells whose column or row is even; a third of them is closed, anew in
        each episode. Couriers do not stand in each other's way.
    Actions:
        Discrete(5): 0 stay, 1 right, 2 down, 3 left, 4 up.
    Observations:
        Dict of `observation`, MultiDiscrete: own column and row, those of the address; and
        `action_mask`, MultiBinary(5): 0 for moves into houses, closed streets and off the board.
    Rewards:
        `1 - 0.9 * step / max_steps` for each courier that arrives, and 0 otherwise.
    Termination:
        A courier that arrives leaves; all are cut off after `max_steps`.
    Ids:
        `examples.masked:Couriers`

    An action that is not allowed raises: who plays has to obey the masks. Infos of the last step
    hold `success`: whether all have arrived.

    Args:
        num_agents: how many couriers.
        size: columns and rows of the board, odd.
        max_steps: when an episode is cut off.
    """

    metadata = {"name": "couriers_v0", "render_modes": []}
    render_mode = None

    def __init__(self, num_agents: int = 2, size: int = 7, max_steps: int = 40) -> None:
        self.size, self.max_steps = size, max_steps
        self.possible_agents = [f"courier_{number}" for number in range(num_agents)]
        self.agents: list[str] = []
        parts = {
            "observation": spaces.MultiDiscrete([size] * 4),
            "action_mask": spaces.MultiBinary(len(MOVES)),
        }
        self._seen = {agent: spaces.Dict(parts) for agent in self.possible_agents}
        self._acts = {agent: spaces.Discrete(len(MOVES)) for agent in self.possible_agents}
        self._random = np.random.default_rng()

    def observation_space(self, agent: str) -> spaces.Dict:
        return self._seen[agent]

    def action_space(self, agent: str) -> spaces.Discrete:
        return self._acts[agent]

    def get_action_meanings(self) -> list[str]:
        return ["stay", "right", "down", "left", "up"]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict]]:
        if seed is not None:
            self._random = np.random.default_rng(seed)
        self.agents = self.possible_agents[:]
        self._moment, self._arrived = 0, 0
        self._open = self._streets()
        streets = np.argwhere(self._open)
        chosen = self._random.permutation(len(streets))
        number = len(self.agents)
        self._place = dict(zip(self.agents, streets[chosen[:number]], strict=True))
        self._address = dict(zip(self.agents, streets[chosen[number : 2 * number]], strict=True))
        return self._look(self.agents), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        acting = self.agents
        self._moment += 1
        for agent in acting:
            if not self._mask(agent)[actions[agent]]:
                raise ValueError(f"{agent} must not take action {actions[agent]}")
            self._place[agent] = self._place[agent] + MOVES[actions[agent]]
        arrived = {a: bool((self._place[a] == self._address[a]).all()) for a in acting}
        late = self._moment == self.max_steps
        reward = 1 - 0.9 * self._moment / self.max_steps
        self._arrived += sum(arrived.values())
        self.agents = [] if late else [agent for agent in acting if not arrived[agent]]
        infos: dict[str, dict] = {agent: {} for agent in acting}
        if not self.agents:
            success = self._arrived == len(self.possible_agents)
            infos = {agent: {"success": success} for agent in acting}
        rewards = {agent: reward if arrived[agent] else 0.0 for agent in acting}
        truncations = {agent: late and not arrived[agent] for agent in acting}
        return self._look(acting), rewards, arrived, truncations, infos

    def _streets(self) -> np.ndarray:
        """Returns bool [size, size]: where one can be."""
        column, row = np.indices((self.size, self.size))
        crossing = (column % 2 == 0) & (row % 2 == 0)
        street = (column % 2 == 0) | (row % 2 == 0)
        return crossing | (street & (self._random.random(street.shape) > 1 / 3))

    def _look(self, agents: list[str]) -> dict[str, Any]:
        return {
            agent: {
                "observation": np.concatenate([self._place[agent], self._address[agent]]),
                "action_mask": self._mask(agent),
            }
            for agent in agents
        }

    def _mask(self, agent: str) -> np.ndarray:
        """Returns int8 [5]: 1 for each move that stays on the streets."""
        there = self._place[agent] + MOVES
        on_board = ((there >= 0) & (there < self.size)).all(1)
        column, row = np.where(on_board[:, None], there, 0).T
        return (on_board & self._open[column, row]).astype(np.int8)
