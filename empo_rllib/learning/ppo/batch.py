"""Fragments to the train batch of one policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import tree
from ray.rllib.core.columns import Columns
from torch import Tensor

from empo_rllib.acting.view import PolicyView
from empo_rllib.envs.vector_env import AgentGroup, Leaves
from empo_rllib.learning.distinct import distinct_rows
from empo_rllib.learning.joint import CriticInputs, critic_inputs, pick, pick_joint
from empo_rllib.learning.ppo.gae import estimate_advantages
from empo_rllib.learning.rows import Rows, rows_of
from empo_rllib.learning.sequences import Sequences, cut
from empo_rllib.sampling.fragment import Fragment

#: Value estimates, float32 [U] or [S, T], of a batch of RLlib's for a network.
ValueFunction = Callable[[dict[str, Any]], Tensor]


@dataclass(frozen=True)
class PolicyBatch:
    """What one policy learns from; tensors are on the learner's device.

    Attributes:
        observations: nested tensors [U, ...] as the RLModule reads them; each differs from the
            others where duplicates were looked for.
        kind: int64 [L], which of `observations` belongs to each row.
        is_step: bool [L]: False for the artificial rows that RLlib adds; see `Rows`.
        actions: [L, ...].
        action_logp: float32 [L].
        action_dist_inputs: float32 [L, K].
        advantages: float32 [L].
        value_targets: float32 [L].
        mean_weights_seq_no: the weights that acted, averaged over steps.
        critic: what the critic reads where that is not `observations`.
        sequences: of the rows, for a network with a memory.
    """

    observations: Any
    kind: np.ndarray
    is_step: np.ndarray
    actions: Tensor
    action_logp: Tensor
    action_dist_inputs: Tensor
    advantages: Tensor
    value_targets: Tensor
    mean_weights_seq_no: float
    critic: CriticInputs | None = None
    sequences: Sequences | None = None

    def __len__(self) -> int:
        return len(self.kind)


def build_batch(
    fragments: Sequence[Fragment],
    policy: str,
    value_function: ValueFunction,
    gamma: float,
    lambda_: float,
    deduplicate: bool,
    device: torch.device | str,
    max_seq_len: int | None = None,
) -> PolicyBatch | None:
    """Returns the batch of `policy`, or None where none of its agents acted.

    Args:
        fragments: of the same envs; the rows of one follow those of the other.
        policy: name of the policy.
        value_function: that of the policy, before the update, of what its critic reads.
        gamma: discount of rewards.
        lambda_: that of generalised advantage estimation.
        deduplicate: whether to look for observations that are the same.
        device: that of the tensors returned.
        max_seq_len: for a network with a memory, how many steps it learns from in a row at most.
    """
    parts = [
        _Part(fragment, i, rows_of(fragment, fragment.policies[i]))
        for fragment in fragments
        for i, found in enumerate(fragment.policies)
        if found.policy == policy
    ]
    parts = [part for part in parts if len(part.rows)]
    if not parts:
        return None
    columns = [np.concatenate(arrays) for arrays in zip(*(p.columns() for p in parts), strict=True)]
    rewards, terminated, is_step, actions, action_logp, action_dist_inputs, seq_no = columns
    observations, kind = _observations(parts, deduplicate, device)
    critic = critic_inputs(
        [(part.fragment, part.rows) for part in parts], parts[0].policy, deduplicate, device
    )
    sequences = None
    if max_seq_len is not None:
        sequences = _sequences(parts, is_step, max_seq_len, device)
    inputs, value_kind = (observations, kind) if critic is None else critic
    with torch.no_grad():
        if sequences is None:
            values = value_function({Columns.OBS: inputs}).cpu().numpy()[value_kind]
        else:
            values = _values(value_function, inputs, value_kind, sequences, critic is not None)
    estimates = estimate_advantages(values, rewards, terminated, is_step, gamma, lambda_)

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(device)

    return PolicyBatch(
        observations=observations,
        kind=kind,
        is_step=is_step,
        actions=tensor(actions),
        action_logp=tensor(action_logp),
        action_dist_inputs=tensor(action_dist_inputs),
        advantages=tensor(estimates.advantages),
        value_targets=tensor(estimates.value_targets),
        mean_weights_seq_no=float(seq_no[is_step].mean()),
        critic=critic,
        sequences=sequences,
    )


def network_batch(
    inputs: Any, index: Tensor, states: Any = None, of_critic: bool = False
) -> dict[str, Any]:
    """Returns what a network reads, as RLlib has it.

    Args:
        inputs: nested tensors [U, ...]: observations, or `CriticInputs.inputs`.
        index: int64 [D], which of them.
        states: for a network with a memory, what it remembered before each of S sequences, nested
            tensors [S, ...]; then D is S * T, sequence after sequence.
        of_critic: the inputs are of a critic that does not read what its actor does.
    """
    seen = pick_joint(inputs, index) if of_critic else pick(inputs, index)
    if states is None:
        return {Columns.OBS: seen}
    if not of_critic:
        size = (len(tree.flatten(states)[0]), -1)
        seen = tree.map_structure(lambda leaf: leaf.unflatten(0, size), seen)
    return {Columns.OBS: seen, Columns.STATE_IN: states}


def _sequences(
    parts: Sequence[_Part], is_step: np.ndarray, max_seq_len: int, device: torch.device | str
) -> Sequences:
    starts, sizes = cut(is_step, max_seq_len)
    remembered = [part.memory() for part in parts]
    states = tree.map_structure(
        lambda *same: torch.from_numpy(np.concatenate(same)[starts]).to(device), *remembered
    )
    return Sequences(starts, sizes, states)


def _values(
    value_function: ValueFunction,
    inputs: Any,
    kind: np.ndarray,
    sequences: Sequences,
    of_critic: bool,
) -> np.ndarray:
    """Returns the value of each row, float32 [L], where a network has a memory.

    Args:
        value_function: as in `build_batch`.
        inputs: what it reads, nested tensors [U, ...].
        kind: int64 [L], which of them belongs to each row.
        sequences: of the rows.
        of_critic: as in `network_batch`.
    """
    index, is_row = sequences.side_by_side(np.arange(len(sequences.starts)))
    entries = torch.from_numpy(kind[index.ravel()]).to(tree.flatten(sequences.states)[0].device)
    batch = network_batch(inputs, entries, sequences.states, of_critic)
    found = value_function(batch).cpu().numpy()
    values = np.empty(len(kind), found.dtype)
    values[index[is_row]] = found[is_row]
    return values


@dataclass(frozen=True)
class _Part:
    """The rows of a policy in one fragment."""

    fragment: Fragment
    number: int
    rows: Rows

    @property
    def policy(self) -> PolicyView:
        return self.fragment.policies[self.number]

    @property
    def group(self) -> AgentGroup:
        return self.fragment.groups[self.policy.group]

    def columns(self) -> tuple[np.ndarray, ...]:
        """Returns arrays [L, ...]; an artificial row repeats the step before it without reward."""
        fragment, rows, policy = self.fragment, self.rows, self.policy
        agent = self.agents_of_all()
        in_group = np.array(policy.in_group)[rows.agent]
        rewards = _pick(fragment.rewards, rows.step, agent)
        return (
            np.where(rows.is_step, rewards, np.float32(0)),
            rows.terminated,
            rows.is_step,
            _pick(fragment.actions[policy.group], rows.step, in_group),
            _pick(fragment.action_logp, rows.step, agent),
            _pick(fragment.action_dist_inputs[self.number], rows.step, rows.agent),
            np.full(len(rows), fragment.weights_seq_no),
        )

    def agents_of_all(self) -> np.ndarray:
        """Returns int64 [L]: the column of each row's agent among all agents."""
        return np.array(self.policy.columns)[self.rows.agent]

    def memory(self) -> Any:
        """Returns arrays [L, ...]: what was remembered before each step."""
        rows = self.rows
        return tree.map_structure(
            lambda leaf: _pick(leaf, rows.step, rows.agent), self.fragment.memory[self.number]
        )

    def observation_bytes(self) -> np.ndarray:
        """Returns uint8 [L, W]: the leaves of each row's observation side by side."""
        fragment, rows, group = self.fragment, self.rows, self.policy.group
        in_group = np.array(self.policy.in_group)[rows.agent]
        is_final = rows.final >= 0
        # Where the observation is a final one, `seen` may be beyond the fragment.
        seen = np.where(is_final, 0, rows.seen)
        parts = []
        for leaf, final in zip(
            fragment.observations[group], fragment.final_observations[group], strict=True
        ):
            picked = _pick(leaf, seen, in_group)
            picked[is_final] = final[rows.final[is_final], in_group[is_final]]
            parts.append(picked.reshape(len(rows), -1).view(np.uint8))
        return np.concatenate(parts, axis=1)


def _pick(array: np.ndarray, step: np.ndarray, agent: np.ndarray) -> np.ndarray:
    """Returns [L, ...] of an array [T, N, A, ...] at t * N + n and a position along A."""
    num_agents = array.shape[2]
    return array.reshape(-1, *array.shape[3:])[step * num_agents + agent]


def _observations(
    parts: Sequence[_Part], deduplicate: bool, device: torch.device | str
) -> tuple[Any, np.ndarray]:
    """Returns the RLModule's input, and which entry of it each row has."""
    rows = np.concatenate([part.observation_bytes() for part in parts])
    agent = np.concatenate([part.agents_of_all() for part in parts])
    policy, group = parts[0].policy, parts[0].group
    first = kind = np.arange(len(rows))
    if deduplicate:
        known = [rows, agent[:, None].view(np.uint8)] if policy.with_agent_id else [rows]
        first, kind = distinct_rows(np.concatenate(known, axis=1))
    leaves = _leaves(rows[first], parts[0])
    tensors = [torch.from_numpy(leaf).to(device) for leaf in leaves]
    return policy.module_input(group, tensors, torch.from_numpy(agent[first]).to(device)), kind


def _leaves(rows: np.ndarray, part: _Part) -> Leaves:
    """Returns the leaves [U, ...] that `_Part.observation_bytes` put side by side."""
    leaves, begin = [], 0
    for like in part.fragment.observations[part.policy.group]:
        shape = like.shape[3:]
        end = begin + like.dtype.itemsize * int(np.prod(shape))
        flat = np.ascontiguousarray(rows[:, begin:end])
        leaves.append(flat.view(like.dtype).reshape(len(rows), *shape))
        begin = end
    return tuple(leaves)
