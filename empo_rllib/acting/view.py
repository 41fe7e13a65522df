"""Whose observations a policy reads, and how they become its network's input."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from empo_rllib.envs.adapting import extended_by_id
from empo_rllib.envs.vector_env import AgentGroup, VectorEnv


@dataclass(frozen=True)
class PolicyView:
    """Whose observations a policy reads in the arrays of a `VectorEnv`, and as what.

    Attributes:
        policy: its name, RLlib's module id.
        group: index of its agents' group in `VectorEnv.groups`.
        in_group: positions of its agents within that group's arrays [.., A_g, ..].
        columns: positions of the same agents among all A agents.
        num_agents: A.
        with_agent_id: its input has the agent's one-hot position, as
            `ParallelMultiAgentEnv(agent_id_for=..)` adds it. It is not stored: it follows from
            the column.
    """

    policy: str
    group: int
    in_group: tuple[int, ...]
    columns: tuple[int, ...]
    num_agents: int
    with_agent_id: bool

    def module_input(
        self, group: AgentGroup, leaves: list[Tensor], columns: Tensor | None
    ) -> Tensor | dict | tuple:
        """Returns the batched observation that the RLModule reads.

        Args:
            group: the group of index `self.group`.
            leaves: tensors [B, ...], in the group's order.
            columns: int64 [B], the agent column of each row; only read `with_agent_id`.
        """
        wanted = [_torch_dtype(dtype) for dtype in group.leaves.dtypes]
        parts = zip(leaves, wanted, strict=True)
        nested: Tensor | dict | tuple
        nested = group.leaves.unflatten([leaf.to(dtype) for leaf, dtype in parts])
        if not self.with_agent_id:
            return nested
        assert columns is not None
        return extended_by_id(nested, torch.nn.functional.one_hot(columns, self.num_agents).float())


def policy_views(
    agents: Mapping[str, Sequence[str]], with_agent_id: Collection[str], envs: VectorEnv
) -> tuple[PolicyView, ...]:
    """Returns where each policy finds its agents in the arrays of `envs`.

    Args:
        agents: the agents of each policy, which share their spaces.
        with_agent_id: names of the policies that see which agent they act for.
        envs: whose arrays they read.
    """
    views = []
    for policy, names in agents.items():
        columns = tuple(sorted(envs.agents.index(name) for name in names))
        number = next(i for i, group in enumerate(envs.groups) if columns[0] in group.columns)
        positions = tuple(envs.groups[number].columns.index(column) for column in columns)
        views.append(
            PolicyView(
                policy=policy,
                group=number,
                in_group=positions,
                columns=columns,
                num_agents=len(envs.agents),
                with_agent_id=policy in with_agent_id,
            )
        )
    return tuple(views)


def _torch_dtype(dtype: np.dtype) -> torch.dtype:
    """Returns the dtype that RLlib's NumpyToTensor gives such an array (Ray 2.60)."""
    found = torch.from_numpy(np.zeros(0, dtype)).dtype
    return torch.float32 if found == torch.float64 else found
