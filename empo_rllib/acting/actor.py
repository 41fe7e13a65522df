"""One policy choosing actions for its agents in all envs at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import tree
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModule
from torch import Tensor

from empo_rllib.acting.critic import seen_by_critic
from empo_rllib.acting.decision import acting_pass, choose_with_logp
from empo_rllib.acting.memory import BatchMemory, drop_time
from empo_rllib.acting.view import PolicyView
from empo_rllib.envs.vector_env import AgentGroup, Leaves, VectorEnv
from empo_rllib.kernels.acting import CompiledActor


@dataclass(frozen=True)
class Decision:
    """What a policy decided for its A_p agents in N envs.

    Attributes:
        actions: [N, A_p, ...] as the policy's distribution has them.
        action_logp: float32 [N, A_p].
        action_dist_inputs: float32 [N, A_p, K].
        memory: arrays [N, A_p, ...], nested as the network's state is: what the policy remembered
            when it decided; empty for one without a memory.
    """

    actions: np.ndarray
    action_logp: np.ndarray
    action_dist_inputs: np.ndarray
    memory: Any = field(default_factory=dict)


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
        self._module: Any = module
        self._forward = acting_pass(module, greedy=not explore)
        self._compiled = CompiledActor.of(module) if device.type == "cpu" else None
        self.in_group = as_slice(policy.in_group)
        self.columns = as_slice(policy.columns)
        self._columns = torch.tensor(policy.columns, device=device).repeat(num_envs)
        self._memory: BatchMemory | None = None
        if module.is_stateful():
            self._memory = BatchMemory(module, len(self._columns), device)

    @torch.no_grad()
    def decide(self, observations: Sequence[Leaves], env_steps: int) -> Decision:
        """Chooses the actions of one step.

        Args:
            observations: `VectorEnv.observations`.
            env_steps: about how many env steps were sampled before, for exploration schedules.
        """
        leaves = [self._tensor(leaf[:, self.in_group]) for leaf in observations[self.policy.group]]
        seen = self.policy.module_input(self._group, leaves, self._columns)
        acted = self._compiled.act(seen, not self.explore) if self._compiled is not None else None
        if acted is not None:
            return Decision(*(array.reshape(*self._shape, *array.shape[1:]) for array in acted))
        schedule = {"t": env_steps} if self.explore else {}
        outputs, memory = self._outputs(seen, schedule)
        actions, logp = choose_with_logp(self._module, outputs, greedy=not self.explore)
        inputs = outputs.get(Columns.ACTION_DIST_INPUTS)
        if inputs is None:  # a network may name its actions itself
            inputs = torch.zeros(len(self._columns), 0)
        return Decision(self._array(actions), self._array(logp), self._array(inputs), memory)

    @torch.no_grad()
    def look(self, envs: VectorEnv) -> None:
        """Lets a critic that sees more than its actor, and has a memory, see the step as well."""
        if self._memory is None or not getattr(self._module, "critic_sees_more", False):
            return
        seen = seen_by_critic(self.policy, envs, self._device)
        batch = {Columns.OBS: seen, Columns.STATE_IN: self._memory.state}
        self._memory.after = {**self._memory.after, **self._module.critic_state(batch)}

    def advance(self, acted: np.ndarray, ended: np.ndarray) -> None:
        """Takes in which agents took the step that was decided, and which ended with it.

        Args:
            acted: bool [N, A].
            ended: bool [N, A]: agents that are not in their episode any more.
        """
        if self._memory is not None:
            acted, ended = acted[:, self.columns], ended[:, self.columns]
            self._memory.advance(self._tensor(acted), self._tensor(ended))

    def restart(self) -> None:
        """Forgets everything: new episodes begin in all envs."""
        if self._memory is not None:
            self._memory.restart()

    def _outputs(self, seen: Any, schedule: dict[str, int]) -> tuple[dict[str, Any], Any]:
        """Returns the network's outputs [B, ...], and what it remembered before."""
        if self._memory is None:
            return self._forward({Columns.OBS: seen}, **schedule), {}
        outputs = self._forward(self._memory.inputs(seen), **schedule)
        self._memory.keep(outputs)
        return drop_time(outputs), tree.map_structure(self._array, self._memory.state)

    def _tensor(self, part: np.ndarray) -> Tensor:
        """Returns [N, A_p, ...] as [N * A_p, ...]."""
        return torch.from_numpy(part.reshape(-1, *part.shape[2:])).to(self._device)

    def _array(self, rows: Tensor) -> np.ndarray:
        return rows.reshape(*self._shape, *rows.shape[1:]).cpu().numpy()


def as_slice(positions: Sequence[int]) -> slice | list[int]:
    """Returns consecutive positions as a slice, which makes a view where a list makes a copy."""
    first, count = positions[0], len(positions)
    if list(positions) == list(range(first, first + count)):
        return slice(first, first + count)
    return list(positions)
