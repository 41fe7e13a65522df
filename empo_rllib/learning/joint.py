"""What critics read that see more than their agents do: all agents' observations, who is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from empo_rllib.acting.view import PolicyView
from empo_rllib.envs.adapting import OF_ALL, POSITION
from empo_rllib.envs.vector_env import AgentGroup
from empo_rllib.learning.distinct import distinct_rows
from empo_rllib.learning.rows import Rows
from empo_rllib.sampling.fragment import Fragment

_Read = Callable[[Fragment, Rows, np.ndarray], list[np.ndarray]]


class CriticInputs(NamedTuple):
    """What a critic reads that does not read what its actor does.

    Attributes:
        inputs: what `PolicyView.central_input` or `state_input` returns for U rows; each differs
            from the others where duplicates were looked for.
        kind: int64 [L], which of `inputs` belongs to each row.
    """

    inputs: Any
    kind: np.ndarray


def critic_inputs(
    parts: Sequence[tuple[Fragment, Rows]],
    policy: PolicyView,
    deduplicate: bool,
    device: torch.device | str,
) -> CriticInputs | None:
    """Returns what the critic of `policy` reads; None where it reads what its actor does.

    Args:
        parts: fragments of the same envs, and the policy's rows in each.
        policy: whose critic it is.
        deduplicate: whether to look for inputs that are the same.
        device: that of the tensors returned.
    """
    if policy.critic == "own":
        return None
    read = _read_state if policy.critic == "state" else _read_all
    known = [_known(fragment, rows, policy, read) for fragment, rows in parts]
    arrays = [np.concatenate(same) for same in zip(*known, strict=True)]
    first = kind = np.arange(len(arrays[0]))
    if deduplicate:
        first, kind = distinct_rows(np.concatenate([_as_bytes(a) for a in arrays], axis=1))
    *leaves, there, agent = (array[first] for array in arrays)
    whom = torch.from_numpy(there).to(device), torch.from_numpy(agent).to(device)
    form, groups = parts[0][0].state_form, parts[0][0].groups
    if policy.critic == "state":
        assert form is not None  # the env runner was told to ask for it
        tensors = [torch.from_numpy(leaf).to(device) for leaf in leaves]
        return CriticInputs(policy.state_input(form, tensors, *whom), kind)
    seen, position = _by_agent(groups, leaves, there.shape, device)
    return CriticInputs(policy.central_input(seen, position, groups, *whom), kind)


def _by_agent(
    groups: Sequence[AgentGroup],
    leaves: Sequence[np.ndarray],
    shape: tuple[int, ...],
    device: torch.device | str,
) -> tuple[dict[int, list[Tensor]], Tensor]:
    """Returns each agent's distinct observations, and which of them each of U rows has.

    Args:
        groups: of the agents.
        leaves: those of all groups [U, A_g, ...], one after the other.
        shape: (U, A).
        device: that of the tensors returned.
    """
    position, seen = np.empty(shape, np.int64), {}
    pending = iter(leaves)
    for group in groups:
        of_group = [next(pending) for _ in group.leaves.dtypes]
        for place, column in enumerate(group.columns):
            own = [leaf[:, place] for leaf in of_group]
            rows = np.concatenate([_as_bytes(leaf) for leaf in own], axis=1)
            first, position[:, column] = distinct_rows(rows)
            seen[column] = [torch.from_numpy(leaf[first]).to(device) for leaf in own]
    return seen, torch.from_numpy(position).to(device)


def _known(fragment: Fragment, rows: Rows, policy: PolicyView, read: _Read) -> list[np.ndarray]:
    """Returns all that the critic reads in each row: leaves, who is there, and who is valued."""
    there = _who_is_there(fragment, rows, policy)
    return [*read(fragment, rows, there), there, np.array(policy.columns)[rows.agent]]


def _read_state(fragment: Fragment, rows: Rows, there: np.ndarray) -> list[np.ndarray]:
    """Returns the state's leaves [L, ...]."""
    pairs = zip(fragment.state, fragment.final_state, strict=True)
    return [_seen(leaf, final, rows) for leaf, final in pairs]


def _read_all(fragment: Fragment, rows: Rows, there: np.ndarray) -> list[np.ndarray]:
    """Returns leaves [L, A_g, ...], group after group.

    Agents that are not there have left an old observation behind, or have none yet: in its place
    stands the one that is near zero.
    """
    found = []
    for group, leaves, finals in zip(
        fragment.groups, fragment.observations, fragment.final_observations, strict=True
    ):
        gone = ~there[:, list(group.columns)]
        for leaf, final, blank in zip(leaves, finals, group.leaves.blank(), strict=True):
            picked = _seen(leaf, final, rows)
            picked[gone] = blank
            found.append(picked)
    return found


def _who_is_there(fragment: Fragment, rows: Rows, policy: PolicyView) -> np.ndarray:
    """Returns bool [L, A]: who is there in each row, the agent of the row always.

    When an episode ends, those are there who did not terminate in its last step: it is their future
    that remains to be valued.
    """
    steps, envs = fragment.final_index.T
    last = fragment.there[steps, envs] & ~fragment.terminated[steps, envs]
    there = _seen(fragment.there, last, rows)
    there[np.arange(len(rows)), np.array(policy.columns)[rows.agent]] = True
    return there


def _seen(array: np.ndarray, final: np.ndarray, rows: Rows) -> np.ndarray:
    """Returns [L, ...] of an array [T + 1, N, ...] and one of final values [M, ...]."""
    is_final = rows.final >= 0
    # Where the observation is a final one, `seen` may be beyond the fragment.
    picked = array.reshape(-1, *array.shape[2:])[np.where(is_final, 0, rows.seen)]
    picked[is_final] = final[rows.final[is_final]]
    return picked


def _as_bytes(array: np.ndarray) -> np.ndarray:
    """Returns an array [L, ...] as uint8 [L, W]."""
    return np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8)


def pick(nested: Any, index: Tensor) -> Any:
    """Returns the entries `index` of nested tensors [U, ...]."""
    if isinstance(nested, dict):
        return {key: pick(part, index) for key, part in nested.items()}
    if isinstance(nested, tuple):
        return tuple(pick(part, index) for part in nested)
    return nested.index_select(0, index)


def pick_joint(inputs: dict, index: Tensor) -> dict:
    """Returns the rows `index` of `CriticInputs.inputs`, with the observations that are in them."""
    if OF_ALL not in inputs:
        picked: dict = pick(inputs, index)
        return picked
    rows = pick({key: part for key, part in inputs.items() if key != OF_ALL}, index)
    parts = [torch.unique(column, return_inverse=True) for column in rows[POSITION].unbind(1)]
    rows[OF_ALL] = tuple(
        pick(seen, used) for seen, (used, _) in zip(inputs[OF_ALL], parts, strict=True)
    )
    rows[POSITION] = torch.stack([position for _, position in parts], dim=1)
    return rows
