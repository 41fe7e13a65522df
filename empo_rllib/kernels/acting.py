"""Acting as a kernel: from observations to actions, their log-probabilities and logits.

The first layer's output is that of each cell's commonest content, and a row of a table for each
cell that differs. The table is filled as contents are met, and begun anew when the weights change.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from empo_rllib.kernels.blas import one_blas_thread
from empo_rllib.kernels.layers import (
    Shape,
    add_bias,
    add_row,
    compiled_loop,
    forbid,
    layer_rows,
    matrix,
    rectify,
    vector,
)
from empo_rllib.kernels.network import Network, describe
from empo_rllib.kernels.observations import Cells, Reader, encode_cells

# Contents beyond these are added up each time that they are met.
_TABLE_ROWS = 4096


class Acted(NamedTuple):
    """What a policy did.

    Attributes:
        actions: int64 [B], or [B, D] for several dimensions.
        logp: float32 [B]; 0 where the most likely action was taken.
        logits: float32 [B, K].
    """

    actions: np.ndarray
    logp: np.ndarray
    logits: np.ndarray


class _Table(NamedTuple):
    """What contents of cells add to the first layer's output.

    Attributes:
        usual: int64 [G], the content of each cell that `base` counts in.
        base: [1, H], the output where each cell holds that.
        slot: int32 [contents], the row of each content; -1: none yet.
        rows: [R, H].
        used: int64 [1], how many rows there are.
    """

    usual: np.ndarray
    base: np.ndarray
    slot: np.ndarray
    rows: np.ndarray
    used: np.ndarray


class CompiledActor:
    """The actor of an RLModule in kernels; follows its weights.

    Args:
        network: of the RLModule.
        several: actions have several dimensions.
    """

    def __init__(self, network: Network, several: bool) -> None:
        self._several = several
        self._layers = (*network.streams[0], network.actor)
        self._parameters = [p for layer in self._layers for p in (layer.weight, layer.bias)]
        self._reader = Reader(network.parts)
        self._ends = np.cumsum(network.action_sizes)
        self._mask = network.mask
        sizes = [size for p in self._parameters for size in [p.numel()]]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        num_logits, num_columns = network.actor.out_features, network.streams[0][0].in_features
        self._shape = Shape(network.widths, 1, num_columns, num_logits, starts)
        self._versions: list[int] = []
        self._flat: np.ndarray | None = None

    @classmethod
    def of(cls, module: nn.Module) -> CompiledActor | None:
        """Returns the actor of an RLModule; None where kernels do not run its network."""
        network = describe(module)
        if isinstance(network, str):
            return None
        return cls(network, several=not hasattr(module.action_space, "n"))

    def act(self, observations: Any, greedy: bool) -> Acted | None:
        """Chooses actions; None where torch has to: it says what is wrong with what it is given.

        Args:
            observations: arrays or tensors [B, ...], nested as the observation space is.
            greedy: take the most likely actions; otherwise sample, with torch's generator.
        """
        values, numbers = self._reader.read(observations)
        cells = self._reader.cells
        codes = np.empty((len(values), len(cells.first) - 1), np.int32)
        if not encode_cells(values, cells, codes):
            return None
        versions = [parameter._version for parameter in self._parameters]
        if versions != self._versions:
            self._versions = versions
            self._read_weights(codes)
        if self._flat is None:
            return None
        count, dimensions = len(codes), len(self._ends)
        chances = np.empty((0, dimensions), np.float32)
        if not greedy:
            chances = torch.rand(count, dimensions).numpy()
        actions = np.empty((count, dimensions), np.int64)
        logp = np.zeros(count, np.float32)
        logits = np.empty((count, self._shape.num_logits), np.float32)
        with one_blas_thread():
            choose(
                self._flat,
                self._shape,
                cells,
                self._table,
                self._reader.number_columns,
                numbers,
                codes,
                self._ends,
                self._mask,
                chances,
                actions,
                logp,
                logits,
            )
        return Acted(actions if self._several else actions[:, 0], logp, logits)

    def _read_weights(self, codes: np.ndarray) -> None:
        """Copies the weights, and begins a table for contents like those of int32 [B, G]."""
        flat = np.concatenate([p.detach().numpy().T.ravel() for p in self._parameters])
        self._flat = flat if np.isfinite(flat).all() else None
        cells = self._reader.cells
        contents, counts = np.unique(codes, return_counts=True)
        cell = np.searchsorted(cells.base, contents, side="right") - 1
        order = np.lexsort((counts, cell))
        usual = contents[order[np.flatnonzero(np.diff(cell[order], append=-1))]].astype(np.int64)
        width = int(self._shape.widths[0])
        rows = min(int(cells.base[-1]), _TABLE_ROWS)
        self._table = _Table(
            usual,
            np.empty((1, width), np.float32),
            np.full(cells.base[-1], -1, np.int32),
            np.empty((rows, width), np.float32),
            np.zeros(1, np.int64),
        )
        if self._flat is not None:
            begin_table(self._flat, self._shape, cells, self._table)


@compiled_loop
def begin_table(flat: np.ndarray, shape: Shape, cells: Cells, table: _Table) -> None:
    """Adds up the first layer's output where each cell holds its usual content."""
    weight = matrix(flat, shape, 0, shape.num_columns, shape.widths[0])
    table.base[0] = vector(flat, shape, 1)
    for cell in range(len(table.usual)):
        add_content(weight, cells, cell, table.usual[cell], 1, table.base, 0)


@compiled_loop
def add_content(
    weight: np.ndarray,
    cells: Cells,
    cell: int,
    content: int,
    sign: int,
    target: np.ndarray,
    to: int,
) -> None:
    """Adds the rows of a weight [V, H] that belong to a cell's content to a row of a matrix."""
    code = content - cells.base[cell]
    for p in range(cells.first[cell], cells.first[cell + 1]):
        column = cells.column[p] + code // cells.factor[p] % cells.size[p]
        for h in range(target.shape[1]):
            target[to, h] += sign * weight[column, h]


@compiled_loop
def choose(
    flat: np.ndarray,  # parameters of the actor
    shape: Shape,
    cells: Cells,
    table: _Table,
    number_columns: np.ndarray,  # int64 [F]
    numbers: np.ndarray,  # [B, F]
    codes: np.ndarray,  # int32 [B, G]
    ends: np.ndarray,  # where the logits of each dimension of the actions end
    mask: int,  # where the mask starts in `numbers`; -1: there is none
    chances: np.ndarray,  # [B, D], in [0, 1); without rows: take the most likely actions
    actions: np.ndarray,  # int64 [B, D], written
    logp: np.ndarray,  # [B] of zeros, added to
    logits: np.ndarray,  # [B, K], written
) -> None:
    """Runs the actor on some observations, and chooses actions."""
    num_layers = len(shape.widths)
    buffer = np.empty(len(codes) * shape.widths.sum(), flat.dtype)
    hidden = layer_rows(buffer, shape, 0, 0, len(codes))
    weight = matrix(flat, shape, 0, shape.num_columns, shape.widths[0])
    usual, base, slot, rows = table.usual, table.base, table.slot, table.rows
    for i in range(len(codes)):
        for h in range(hidden.shape[1]):
            hidden[i, h] = base[0, h]
        for f in range(len(number_columns)):
            for h in range(hidden.shape[1]):
                hidden[i, h] += numbers[i, f] * weight[number_columns[f], h]
        for cell in range(len(usual)):
            content = codes[i, cell]
            if content == usual[cell]:
                continue
            if slot[content] < 0:
                add_to_table(weight, cells, table, cell, content)
            if slot[content] >= 0:
                add_row(rows, slot[content], hidden, i)
            else:  # the table is full
                add_content(weight, cells, cell, usual[cell], -1, hidden, i)
                add_content(weight, cells, cell, content, 1, hidden, i)
        rectify(hidden, i)
    for number in range(1, num_layers):
        below = hidden
        hidden = layer_rows(buffer, shape, 0, number, len(codes))
        width = shape.widths[number]
        np.dot(below, matrix(flat, shape, 2 * number, below.shape[1], width), hidden)
        add_bias(vector(flat, shape, 2 * number + 1), hidden, True)
    head = matrix(flat, shape, 2 * num_layers, hidden.shape[1], shape.num_logits)
    np.dot(hidden, head, logits)
    add_bias(vector(flat, shape, 2 * num_layers + 1), logits, False)
    forbid(logits, numbers, np.arange(len(logits)), mask)
    for i in range(len(codes)):
        begin = 0
        for d in range(len(ends)):
            part = logits[i, begin : ends[d]]
            if len(chances):
                actions[i, d] = pick(part, chances[i, d])
                logp[i] += log_probability(part, actions[i, d])
            else:
                actions[i, d] = np.argmax(part)
            begin = ends[d]


@compiled_loop
def add_to_table(weight: np.ndarray, cells: Cells, table: _Table, cell: int, content: int) -> None:
    """Gives a content a row in the table, as long as there is room."""
    row = table.used[0]
    if row == len(table.rows):
        return
    table.rows[row] = 0
    add_content(weight, cells, cell, table.usual[cell], -1, table.rows, row)
    add_content(weight, cells, cell, content, 1, table.rows, row)
    table.slot[content] = row
    table.used[0] += 1


@compiled_loop
def pick(logits: np.ndarray, chance: float) -> int:
    """Returns the action whose share of the probability, in their order, `chance` falls into."""
    highest, total = normaliser(logits)
    reached, last = 0.0, len(logits) - 1
    for k in range(len(logits)):
        share = math.exp(logits[k] - highest)
        reached += share
        if share > 0.0:
            last = k
            if chance * total < reached:
                break
    return last


@compiled_loop
def log_probability(logits: np.ndarray, action: int) -> float:
    """Returns the log-probability of an action."""
    highest, total = normaliser(logits)
    return logits[action] - highest - math.log(total)


@compiled_loop
def normaliser(logits: np.ndarray) -> tuple[float, float]:
    """Returns the largest logit, and the sum of the exponentials of all less that one."""
    highest = logits.max()
    total = 0.0
    for logit in logits:
        total += math.exp(logit - highest)
    return highest, total
