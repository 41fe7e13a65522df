"""Whose observations a policy reads, and how they become its networks' input."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from empo_rllib.envs.adapting import AGENT_ID, OF_ALL, POSITION, STATE, THERE, extended_by_id
from empo_rllib.envs.vector_env import AgentGroup, ObservationLeaves, VectorEnv

#: What a critic reads: its agent's observation, as the actor does; all agents' observations; or
#: the environment's state.
Critic = Literal["own", "central", "state"]


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
        critic: what its critic reads. One that reads more than its actor also reads who is there,
            and which agent is meant where the policy has several. Acting needs no critic.
    """

    policy: str
    group: int
    in_group: tuple[int, ...]
    columns: tuple[int, ...]
    num_agents: int
    with_agent_id: bool
    critic: Critic = "own"

    def module_input(
        self, group: AgentGroup, leaves: list[Tensor], columns: Tensor | None
    ) -> Tensor | dict | tuple:
        """Returns the batched observation that the RLModule reads.

        Args:
            group: the group of index `self.group`.
            leaves: tensors [B, ...], in the group's order.
            columns: int64 [B], the agent column of each row; only read `with_agent_id`.
        """
        nested = _nested(group.leaves, leaves)
        if not self.with_agent_id:
            return nested
        assert columns is not None
        return extended_by_id(nested, torch.nn.functional.one_hot(columns, self.num_agents).float())

    def central_input(
        self,
        seen: Mapping[int, Sequence[Tensor]],
        position: Tensor,
        groups: Sequence[AgentGroup],
        there: Tensor,
        columns: Tensor,
    ) -> dict:
        """Returns what a `central` critic reads, nested as in `central_critic_space`.

        An agent's observations are seen in many rows. Each is there once, and `position` beside
        them tells which one a row has.

        Args:
            seen: for each agent's column the leaves [U_a, ...] of its distinct observations.
            position: int64 [B, A], which of them each row has.
            groups: all of them.
            there: bool [B, A], who is there.
            columns: int64 [B], the column of the agent that is valued.
        """
        forms = {column: group.leaves for group in groups for column in group.columns}
        nested = tuple(_nested(forms[column], seen[column]) for column in sorted(forms))
        return {OF_ALL: nested, POSITION: position, **self._whom(there, columns)}

    def state_input(
        self, form: ObservationLeaves, leaves: Sequence[Tensor], there: Tensor, columns: Tensor
    ) -> dict:
        """Returns what a critic of the `state` reads, as `central_input` does.

        Args:
            form: of the state.
            leaves: its tensors [B, ...].
            there: bool [B, A], who is there.
            columns: int64 [B], the column of the agent that is valued.
        """
        return {STATE: _nested(form, leaves), **self._whom(there, columns)}

    def _whom(self, there: Tensor, columns: Tensor) -> dict[str, Tensor]:
        """Returns who is there, and which agent is valued where there are several."""
        if len(self.columns) == 1:
            return {THERE: there}
        return {THERE: there, AGENT_ID: torch.nn.functional.one_hot(columns, self.num_agents)}


def policy_views(
    agents: Mapping[str, Sequence[str]],
    with_agent_id: Collection[str],
    envs: VectorEnv,
    critic: Critic = "own",
) -> tuple[PolicyView, ...]:
    """Returns where each policy finds its agents in the arrays of `envs`.

    Args:
        agents: the agents of each policy, which share their spaces.
        with_agent_id: names of the policies that see which agent they act for.
        envs: whose arrays they read.
        critic: what their critics read.
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
                critic=critic,
            )
        )
    return tuple(views)


def _nested(form: ObservationLeaves, leaves: Sequence[Tensor]) -> Tensor | dict | tuple:
    """Returns `leaves` [B, ...] nested as their space, in the dtypes that RLModules get."""
    wanted = [_torch_dtype(dtype) for dtype in form.dtypes]
    nested: Tensor | dict | tuple
    nested = form.unflatten([leaf.to(dtype) for leaf, dtype in zip(leaves, wanted, strict=True)])
    return nested


def _torch_dtype(dtype: np.dtype) -> torch.dtype:
    """Returns the dtype that RLlib's NumpyToTensor gives such an array (Ray 2.60)."""
    found = torch.from_numpy(np.zeros(0, dtype)).dtype
    return torch.float32 if found == torch.float64 else found
