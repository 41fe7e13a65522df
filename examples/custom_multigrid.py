"""A MultiGrid environment of one's own: a layout, and nothing else.

python -m empo_rllib doctor examples.custom_multigrid:TwoRooms --num-agents 2
python -m empo_rllib.tune --config examples/custom_multigrid.yaml
"""

from __future__ import annotations

from typing import Any

from multigrid import MultiGridEnv
from multigrid.core import Grid
from multigrid.core.world_object import Goal


class TwoRooms(MultiGridEnv):
    """Agents start in the left room and have to find the gap into the right one.

    Description:
        A wall divides the grid. In each episode its gap is in another row, and so is the goal, in
        the last column of the right room. Walls hide what is behind them.
    Actions:
        Those of MultiGrid: 0 left, 1 right, 2 forward, 3 pick up, 4 drop, 5 toggle, 6 done.
    Observations:
        Those of MultiGrid: `image`, what is in the 7 by 7 cells before the agent, and `direction`.
    Rewards:
        `1 - 0.9 * step / max_steps` for an agent that arrives.
    Termination:
        An agent that arrives leaves; the episode ends when all have, or is cut off at `max_steps`.
    Ids:
        `examples.custom_multigrid:TwoRooms`

    Only `_gen_grid` is replaced, so that PPO steps it in compiled kernels like MultiGrid's own.

    Args:
        width: cells from wall to wall, the outer ones included.
        height: the same for the other direction.
        max_steps: when an episode is cut off.
        success_termination_mode: `all` must arrive, or `any` of them.
        kwargs: further arguments of `MultiGridEnv`.
    """

    def __init__(
        self,
        width: int = 9,
        height: int = 6,
        max_steps: int = 100,
        success_termination_mode: str = "all",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            mission_space="find the goal in the other room",
            width=width,
            height=height,
            max_steps=max_steps,
            success_termination_mode=success_termination_mode,
            **kwargs,
        )

    def _gen_grid(self, width: int, height: int) -> None:
        """Lays out an episode; `_rand_int` and `place_agent` are seeded by `reset(seed)`."""
        middle = width // 2
        self.grid = Grid(width, height)
        self.grid.wall_rect(0, 0, width, height)
        self.grid.vert_wall(middle, 0)
        self.grid.set(middle, self._rand_int(1, height - 1), None)
        self.put_obj(Goal(), width - 2, self._rand_int(1, height - 1))
        for agent in self.agents:
            self.place_agent(agent, top=(0, 0), size=(middle, height))
