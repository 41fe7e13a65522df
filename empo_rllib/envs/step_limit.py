"""How long an episode may last."""

from __future__ import annotations

import gymnasium as gym
from pettingzoo import ParallelEnv

#: Env steps after which an episode is cut that is evaluated, where its environment has no higher
#: limit; and one that is recorded, whose pictures are kept in memory.
EPISODE_LIMIT = 10_000
FILM_LIMIT = 2_000

# PettingZoo's and MultiGrid's names for it; environments of users follow either. The last is
# that of older Gym environments.
_NAMES = ("max_cycles", "max_steps", "_max_episode_steps")


def cut_limit(env: ParallelEnv, default: int = EPISODE_LIMIT) -> int:
    """Returns after how many env steps an episode is cut.

    A limit of the environment's own that is lower is left to the environment.
    """
    return max(step_limit(env) or 0, default)


def step_limit(env: ParallelEnv) -> int | None:
    """Returns after how many env steps an episode is truncated; None where nothing tells."""
    env = env.unwrapped
    # The environments of sisl keep it one level below what PettingZoo calls unwrapped, and so do
    # those of Gymnasium and MultiGrid below what this package makes of them.
    inner = getattr(env, "env", None)
    if isinstance(inner, gym.Env):
        if inner.spec is not None and inner.spec.max_episode_steps is not None:
            return int(inner.spec.max_episode_steps)
        inner = inner.unwrapped
    found = (getattr(place, name, None) for place in (env, inner) for name in _NAMES)
    return next((limit for limit in found if isinstance(limit, int)), None)
