"""What a critic that sees more than its actor sees now, of all its agents at once.

Acting needs no critic. But one with a memory has to see each step of the episodes that it learns
from, and so it is asked in sampling, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from empo_rllib.acting.view import PolicyView
from empo_rllib.envs.vector_env import Leaves, VectorEnv


def seen_by_critic(policy: PolicyView, envs: VectorEnv, device: torch.device) -> dict:
    """Returns what `PolicyView.central_input` or `state_input` does, for rows [N * A_p].

    Args:
        policy: whose critic it is; it reads more than its actor.
        envs: before a step.
        device: that of the tensors returned.
    """
    env = torch.arange(envs.num_envs, device=device).repeat_interleave(len(policy.columns))
    columns = torch.tensor(policy.columns, device=device).repeat(envs.num_envs)
    there = torch.from_numpy(envs.there).to(device)[env]
    if policy.critic == "state":
        assert envs.state_form is not None  # the env runner was told to ask for it
        leaves = [leaf[env] for leaf in _tensors(envs.state, device)]
        return policy.state_input(envs.state_form, leaves, there, columns)
    seen = {
        column: _tensors(_of_agent(envs, number, place, column), device)
        for number, group in enumerate(envs.groups)
        for place, column in enumerate(group.columns)
    }
    position = env[:, None].expand(-1, policy.num_agents)
    return policy.central_input(seen, position, envs.groups, there, columns)


def _of_agent(envs: VectorEnv, number: int, place: int, column: int) -> Leaves:
    """Returns an agent's leaves [N, ...], with an observation near zero where it is not there."""
    found = []
    blank = envs.groups[number].leaves.blank()
    for leaf, nothing in zip(envs.observations[number], blank, strict=True):
        own = leaf[:, place].copy()
        own[~envs.there[:, column]] = nothing
        found.append(own)
    return tuple(found)


def _tensors(leaves: Sequence[np.ndarray], device: torch.device) -> list[Tensor]:
    return [torch.from_numpy(leaf).to(device) for leaf in leaves]
