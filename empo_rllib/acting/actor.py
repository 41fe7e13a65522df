"""One policy choosing actions for its agents in all envs at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModule
from torch import Tensor

from empo_rllib.acting.decision import acting_pass, choose_with_logp
from empo_rllib.acting.view import PolicyView
from empo_rllib.envs.vector_env import AgentGroup, Leaves
from empo_rllib.kernels.acting import CompiledActor


@dataclass(frozen=True)
class Decision:
    """What a policy decided for its A_p agents in N envs.

    Attributes:
        actions: [N, A_p, ...] as the policy's distribution has them.
        action_logp: float32 [N, A_p].
        action_dist_inputs: float32 [N, A_p, K].
    """

    actions: np.ndarray
    action_logp: np.ndarray
    action_dist_inputs: np.ndarray


class Actor:
    """A policy's RLModule over the arrays of a `VectorEnv`.

    Args:
        module: the RLModule, on `device`.
        policy: whose observations it reads.
        group: the group of its agents.
        num_envs: N.
        explore: sample actions; otherwise take the most likely ones.
    """

    def __init__(
        self,
        module: RLModule,
        policy: PolicyView,
        group: AgentGroup,
        num_envs: int,
        explore: bool,
        device: torch.device,
    ) -> None:
        self.policy, self._group = policy, group
        self._shape = (num_envs, len(policy.columns))
        self.explore, self._device = explore, device
        self._module = module
        self._forward = acting_pass(module, greedy=not explore)
        self._compiled = CompiledActor.of(module) if device.type == "cpu" else None
        self.in_group = as_slice(policy.in_group)
        self.columns = as_slice(policy.columns)
        self._columns = torch.tensor(policy.columns, device=device).repeat(num_envs)

    @torch.no_grad()
    def decide(self, observations: Sequence[Leaves], env_steps: int) -> Decision:
        """Chooses the actions of one step.

        Args:
            observations: `VectorEnv.observations`.
            env_steps: about how many env steps were sampled before, for exploration schedules.
        """
        leaves = [self._tensor(leaf) for leaf in observations[self.policy.group]]
        seen = self.policy.module_input(self._group, leaves, self._columns)
        acted = self._compiled.act(seen, not self.explore) if self._compiled is not None else None
        if acted is not None:
            return Decision(*(array.reshape(*self._shape, *array.shape[1:]) for array in acted))
        schedule = {"t": env_steps} if self.explore else {}
        outputs = self._forward({Columns.OBS: seen}, **schedule)
        actions, logp = choose_with_logp(self._module, outputs, greedy=not self.explore)
        inputs = outputs.get(Columns.ACTION_DIST_INPUTS)
        if inputs is None:  # a network may name its actions itself
            inputs = torch.zeros(len(self._columns), 0)
        return Decision(self._array(actions), self._array(logp), self._array(inputs))

    def _tensor(self, leaf: np.ndarray) -> Tensor:
        part = leaf[:, self.in_group]
        return torch.from_numpy(part.reshape(-1, *part.shape[2:])).to(self._device)

    def _array(self, rows: Tensor) -> np.ndarray:
        return rows.reshape(*self._shape, *rows.shape[1:]).cpu().numpy()


def as_slice(positions: Sequence[int]) -> slice | list[int]:
    """Returns consecutive positions as a slice, which makes a view where a list makes a copy."""
    first, count = positions[0], len(positions)
    if list(positions) == list(range(first, first + count)):
        return slice(first, first + count)
    return list(positions)
