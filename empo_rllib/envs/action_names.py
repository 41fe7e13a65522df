"""What actions mean, for people who read films and bundles."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces
from pettingzoo import ParallelEnv

from empo_rllib.envs.gymnasium_env import GymnasiumParallelEnv


def action_names(env: ParallelEnv, agent: str) -> list[str]:
    """Returns a name for each of an agent's Discrete actions; empty where there are none.

    MultiGrid's are known; others tell theirs as Gymnasium's Atari environments do, by a method
    `get_action_meanings()`. It counts where it names every action, and these count from 0.
    """
    from empo_rllib.envs.multigrid import MultiGridParallelEnv

    space = env.action_space(agent)
    env = env.unwrapped
    if not isinstance(space, spaces.Discrete) or space.start != 0:
        return []
    if isinstance(env, MultiGridParallelEnv):
        from multigrid.core.actions import Action

        return [action.name for action in Action]
    teller: Any = env.env.unwrapped if isinstance(env, GymnasiumParallelEnv) else env
    names = [str(name) for name in getattr(teller, "get_action_meanings", list)()]
    return names if len(names) == space.n else []
