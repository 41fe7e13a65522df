"""How long an episode may last."""

from __future__ import annotations

from pettingzoo import ParallelEnv

from empo_rllib.envs.gymnasium_env import GymnasiumParallelEnv

# PettingZoo's and MultiGrid's names for it; environments of users follow either.
_NAMES = ("max_cycles", "max_steps")


def step_limit(env: ParallelEnv) -> int | None:
    """Returns after how many env steps an episode is truncated; None where nothing tells."""
    from empo_rllib.envs.multigrid import MultiGridParallelEnv

    env = env.unwrapped
    if isinstance(env, GymnasiumParallelEnv):
        return env.env.spec.max_episode_steps if env.env.spec else None
    if isinstance(env, MultiGridParallelEnv):
        env = env.env.unwrapped
    # The environments of sisl keep it one level below what PettingZoo calls unwrapped.
    places = (env, getattr(env, "env", None))
    found = (getattr(place, name, None) for place in places for name in _NAMES)
    return next((limit for limit in found if isinstance(limit, int)), None)
