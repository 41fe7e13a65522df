"""What one env runner samples in one go, as arrays [T, N, A]."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from empo_rllib.envs.adapting import AGENT_ID
from empo_rllib.envs.vector_env import AgentGroup, Leaves, VectorEnv


@dataclass(frozen=True)
class PolicyInput:
    """Whose observations a policy reads, and how they become its RLModule's input.

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
        nested = group.leaves.unflatten([leaf.to(dtype) for leaf, dtype in parts])
        if not self.with_agent_id:
            return nested
        assert columns is not None
        one_hot = torch.nn.functional.one_hot(columns, self.num_agents).float()
        if isinstance(group.observation_space, gym.spaces.Dict):
            return {**nested, AGENT_ID: one_hot}
        return {"observation": nested, AGENT_ID: one_hot}


def policy_inputs(
    agents: Mapping[str, Sequence[str]], with_agent_id: Collection[str], envs: VectorEnv
) -> tuple[PolicyInput, ...]:
    """Returns where each policy finds its agents in the arrays of `envs`.

    Args:
        agents: the agents of each policy, which share their spaces.
        with_agent_id: names of the policies that see which agent they act for.
        envs: whose arrays they read.
    """
    inputs = []
    for policy, names in agents.items():
        columns = tuple(sorted(envs.agents.index(name) for name in names))
        number = next(i for i, group in enumerate(envs.groups) if columns[0] in group.columns)
        positions = tuple(envs.groups[number].columns.index(column) for column in columns)
        inputs.append(
            PolicyInput(
                policy=policy,
                group=number,
                in_group=positions,
                columns=columns,
                num_agents=len(envs.agents),
                with_agent_id=policy in with_agent_id,
            )
        )
    return tuple(inputs)


def _torch_dtype(dtype: np.dtype) -> torch.dtype:
    """Returns the dtype that RLlib's NumpyToTensor gives such an array (Ray 2.60)."""
    found = torch.from_numpy(np.zeros(0, dtype)).dtype
    return torch.float32 if found == torch.float64 else found


class Fragment:
    """T steps of N envs; all agents of an env stand side by side.

    A plain class on purpose: `synchronous_parallel_sample` flattens what env runners return
    with dm_tree, which must take this for one leaf (Ray 2.60).

    Attributes:
        policies: the policies and their agents.
        groups: the agents by their spaces.
        observations: for each group its leaves [T + 1, N, A_g, ...]. Row t is what agents see
            before step t; row T is what they see after the last step. The row after a step in
            which an agent left, while its episode went on, holds that agent's last observation.
        actions: for each group [T, N, A_g, ...].
        action_logp: float32 [T, N, A].
        action_dist_inputs: for each policy float32 [T, N, A_p, K].
        rewards: float32 [T, N, A].
        present: bool [T, N, A]: the agent acted at step t. Everything else about a step in which
            it did not act is undefined, and enters no loss, advantage or counter.
        terminated, truncated: bool [T, N, A]: the agent ended with step t; never both.
        episode_over: bool [T, N]: the episode ended with step t; row t + 1 is of the next one.
        final_index: int64 [M, 2]: (t, n) of each True in `episode_over`, in that order.
        final_observations: for each group its leaves [M, A_g, ...]: what agents saw last.
        state_in: for each policy the recurrent state of its agents before step 0, leaves
            [N, A_p, ...] by name; empty for feed-forward modules.
        weights_seq_no: which weights acted, as the env runner's `_weights_seq_no` counts them.
    """

    policies: tuple[PolicyInput, ...]
    groups: tuple[AgentGroup, ...]
    observations: tuple[Leaves, ...]
    actions: tuple[np.ndarray, ...]
    action_logp: np.ndarray
    action_dist_inputs: tuple[np.ndarray, ...]
    rewards: np.ndarray
    present: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    episode_over: np.ndarray
    final_index: np.ndarray
    final_observations: tuple[Leaves, ...]
    state_in: tuple[dict[str, np.ndarray], ...]
    weights_seq_no: int

    def __init__(self, **arrays: object) -> None:
        self.__dict__.update(arrays)

    def __len__(self) -> int:
        return int(self.rewards.shape[0] * self.rewards.shape[1])

    def env_steps(self) -> int:
        """T * N, as `MultiAgentEpisode.env_steps`."""
        return len(self)

    def agent_steps(self) -> int:
        """Steps in which an agent acted, as `MultiAgentEpisode.agent_steps`."""
        return int(self.present.sum())
