"""A MultiGrid environment that needs a memory: what tells the way is seen at the start only.

python -m empo_rllib doctor examples.memory:TMaze --num-agents 2
python -m empo_rllib.tune --config examples/memory.yaml
"""

from __future__ import annotations

from typing import Any

from multigrid import MultiGridEnv
from multigrid.core import Grid
from multigrid.core.world_object import Goal, Wall


class TMaze(MultiGridEnv):
    """Agents see a wall's colour at the foot of a T, and choose an arm by it at the top.

    Description:
        Two arms end in goals that look the same. A piece of red wall beside the start says that
        the left one counts, of blue wall that the right one does. From the arms it is out of
        sight. (A ball would not do: carried along, it would be seen to the end.) After Bakker 2002,
        "Reinforcement learning with long short-term memory".
    Actions:
        Those of MultiGrid: 0 left, 1 right, 2 forward, 3 pick up, 4 drop, 5 toggle, 6 done.
    Observations:
        Those of MultiGrid: `image`, what is in the 3 by 3 cells before the agent, and `direction`.
    Rewards:
        `1 - 0.9 * step / max_steps` for an agent at the right goal, and 0 at the other.
    Termination:
        An agent leaves at either goal; the episode ends when all have, or is cut off at
        `max_steps`. It is a success where all were at the right one.
    Ids:
        `examples.memory:TMaze`

    Args:
        stem: cells from the start to the arms.
        max_steps: when an episode is cut off.
        agent_view_size: cells that agents see, odd; more than `stem`, and they see the wall from
            the top, too.
        kwargs: further arguments of `MultiGridEnv`.
    """

    def __init__(
        self, stem: int = 3, max_steps: int = 40, agent_view_size: int = 3, **kwargs: Any
    ) -> None:
        super().__init__(
            mission_space="choose the arm that the wall tells",
            width=9,
            height=stem + 3,
            max_steps=max_steps,
            agent_view_size=agent_view_size,
            success_termination_mode="all",
            **kwargs,
        )

    def _gen_grid(self, width: int, height: int) -> None:
        """Lays out an episode; `_rand_int` is seeded by `reset(seed)`."""
        middle = width // 2
        self.grid = Grid(width, height)
        for row in range(height):
            self.grid.horz_wall(0, row)
        for column in range(1, width - 1):
            self.grid.set(column, 1, None)
        for row in range(1, height - 1):
            self.grid.set(middle, row, None)
        self.goes_left = bool(self._rand_int(0, 2))
        self.grid.set(middle - 1, height - 2, Wall("red" if self.goes_left else "blue"))
        for column in (1, width - 2):
            self.grid.set(column, 1, Goal())
        for agent in self.agents:
            agent.state.pos = (middle, height - 2)
            agent.state.dir = 3  # up

    def on_success(self, agent: Any, rewards: dict, terminations: dict) -> None:
        """Is called where an agent is at a goal, which may be the wrong one."""
        is_left = agent.state.pos[0] < self.width // 2
        reached = super().on_success if is_left == self.goes_left else self.on_failure
        reached(agent, rewards, terminations)
