"""One policy choosing actions for its agents in all envs at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchCategorical
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.utils.spaces.space_utils import clip_action, unsquash_action
from torch import Tensor

from empo_rllib.envs.vector_env import AgentGroup, Leaves
from empo_rllib.sampling.fragment import PolicyInput


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
        explore: sample actions; otherwise take the distribution's mode.
    """

    def __init__(
        self,
        module: RLModule,
        policy: PolicyInput,
        group: AgentGroup,
        num_envs: int,
        explore: bool,
        device: torch.device,
    ) -> None:
        self.policy, self._group = policy, group
        self._shape = (num_envs, len(policy.columns))
        self.explore, self._device = explore, device
        # The public `forward_exploration` switches the whole module to evaluation mode and back
        # at every step, which costs as much as a small network. Here it stays in that mode.
        module.eval()
        self._forward = module._forward_exploration if explore else module._forward_inference
        self._distribution = (
            module.get_exploration_action_dist_cls()
            if explore
            else module.get_inference_action_dist_cls()
        )
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
        schedule = {"t": env_steps} if self.explore else {}
        outputs = self._forward({Columns.OBS: seen}, **schedule)
        inputs = outputs.get(Columns.ACTION_DIST_INPUTS)
        if inputs is None:  # a network may name its actions itself
            inputs = torch.zeros(len(self._columns), 0)
        actions, logp = self._choose(outputs, inputs)
        return Decision(self._array(actions), self._array(logp), self._array(inputs))

    def _choose(self, outputs: dict[str, Any], inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Returns actions [N * A_p, ...] and their log-probabilities, as RLlib's `GetActions`."""
        actions = outputs.get(Columns.ACTIONS)
        if actions is None and self.explore and self._distribution is TorchCategorical:
            return sample_categorical(inputs)
        if actions is not None and not self.explore:
            return actions, torch.zeros(len(inputs))  # certain
        distribution = self._distribution.from_logits(inputs)
        if not self.explore:
            return distribution.to_deterministic().sample(), torch.zeros(len(inputs))
        if actions is None:
            actions = distribution.sample()
        logp = outputs.get(Columns.ACTION_LOGP)
        return actions, distribution.logp(actions) if logp is None else logp

    def _tensor(self, leaf: np.ndarray) -> Tensor:
        part = leaf[:, self.in_group]
        return torch.from_numpy(part.reshape(-1, *part.shape[2:])).to(self._device)

    def _array(self, rows: Tensor) -> np.ndarray:
        return rows.reshape(*self._shape, *rows.shape[1:]).cpu().numpy()


def sample_categorical(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Samples one action per row of logits [B, K]; returns int64 [B] and log-probability [B].

    The race of exponential clocks (what `torch.multinomial` does for one draw): the smallest of
    Exp(1) / p has index k with probability p_k. Cheaper than a distribution object.
    """
    log_probs = torch.log_softmax(logits, -1)
    clocks = torch.empty_like(log_probs).exponential_()
    actions = (log_probs - clocks.log()).argmax(-1)
    return actions, log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1)


def as_slice(positions: Sequence[int]) -> slice | list[int]:
    """Returns consecutive positions as a slice, which makes a view where a list makes a copy."""
    first, count = positions[0], len(positions)
    if list(positions) == list(range(first, first + count)):
        return slice(first, first + count)
    return list(positions)


def actions_for_env(actions: np.ndarray, group: AgentGroup, config: Any) -> np.ndarray:
    """Returns [N, A_g, ...] actions as RLlib's `NormalizeAndClipActions` hands them to the env.

    Args:
        actions: as the policies' distributions have them.
        group: whose action space the environment knows.
        config: RLlib's, for `normalize_actions` and `clip_actions`.
    """
    if config.normalize_actions:
        return np.asarray(unsquash_action(actions, group.action_space))
    if config.clip_actions:
        return np.asarray(clip_action(actions, group.action_space))
    return actions
