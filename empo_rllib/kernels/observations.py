"""Observations as kernels read them: numbers, and cells whose contents are categories.

A MultiGrid view has 49 cells of (type, colour, state). In a batch a cell mostly holds the same
content, so the first layer's output is that of each cell's commonest content, the same for all
observations, and a row of a table for each cell that differs. The gradient goes the same way back:
that of the commonest content is the total less what differed. Both are the dense product with the
one-hot vector, up to rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from operator import getitem
from typing import Any, NamedTuple

import numpy as np

from empo_rllib.envs.compiled import compiled
from empo_rllib.kernels.network import Part

# What a multiply-add of a row costs in a matrix product, against one that looks the row up.
# Measured on one thread with 195 observations, 240 columns and 128 outputs.
_COST_OF_PRODUCT = 0.55


class Cells(NamedTuple):
    """How the categories of an observation are kept: P positions in G cells.

    Attributes:
        low: the lowest value of each position, int64 [P].
        size: how many values it takes, int64 [P].
        column: of the first layer, for its lowest value, int64 [P].
        factor: what a value counts for in the number of its cell's content, int64 [P].
        first: where each cell starts among the positions, int64 [G + 1].
        base: where the contents of each cell start among all contents, int64 [G + 1].
    """

    low: np.ndarray
    size: np.ndarray
    column: np.ndarray
    factor: np.ndarray
    first: np.ndarray
    base: np.ndarray


class Coded(NamedTuple):
    """What the first layer reads of U observations, for the columns that are in use.

    Attributes:
        numbers: [U, F], the values of the first F columns.
        items: int32 [I], observation after observation: rows of the table, or columns.
        ends: int64 [U + 1], where the items of each observation start and end.
        row_columns: int64 [R, C], the columns of each row of the table; -1: no more.
        row_cell: int64 [R], whose content it is, ascending.
        base_columns: int64 [G, C], the columns of each cell's commonest content; -1: no more.
        dense: items are columns, for a matrix product; there is no table.
    """

    numbers: np.ndarray
    items: np.ndarray
    ends: np.ndarray
    row_columns: np.ndarray
    row_cell: np.ndarray
    base_columns: np.ndarray
    dense: bool


@dataclass(frozen=True)
class Batch:
    """Observations, and which of the first layer's columns they use.

    Attributes:
        coded: refers to columns by their position in `columns`.
        columns: int64 [K], of the first layer's input.
    """

    coded: Coded
    columns: np.ndarray


class Reader:
    """Reads batched observations, nested as their space is.

    Args:
        parts: of the observation.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._categories = [part for part in parts if part.sizes]
        self._numbers = [part for part in parts if not part.sizes]
        self.cells = _cells(self._categories)
        self.number_columns = np.array(
            [column for part in self._numbers for column in part.columns], np.int64
        )

    def read(self, observations: Any) -> tuple[np.ndarray, np.ndarray]:
        """Returns categories int32 [B, P] and numbers float32 [B, F] of tensors [B, ...]."""
        found = [_rows(observations, part) for part in self._categories]
        numbers = [
            _rows(observations, part).astype(np.float32) * np.float32(part.scale)
            for part in self._numbers
        ]
        return _joined(found, np.int32, observations), _joined(numbers, np.float32, observations)

    def encode(
        self, observations: Any, in_use: np.ndarray, each: float, dense: bool | None = None
    ) -> Batch | None:
        """Returns observations for the first layer; None where a value is outside its space.

        Args:
            observations: tensors [U, ...], nested as the space is.
            in_use: bool [V], columns to list in any case.
            each: how many observations a minibatch has, in the mean.
            dense: whether a matrix product is wanted; None: where it is the faster.
        """
        values, numbers = self.read(observations)
        codes = np.empty((len(values), len(self.cells.first) - 1), np.int32)
        if not encode_cells(values, self.cells, codes):
            return None
        counts = np.bincount(codes.ravel(), minlength=int(self.cells.base[-1]))
        contents = np.flatnonzero(counts)
        cell = np.searchsorted(self.cells.base, contents, side="right") - 1
        content_columns = columns_of(contents, cell, self.cells)
        used = in_use.copy()
        used[content_columns[content_columns >= 0]] = True
        used[self.number_columns] = False
        columns = np.concatenate([self.number_columns, np.flatnonzero(used)])
        place = np.full(len(used) + 1, -1, np.int64)
        place[columns] = np.arange(len(columns))
        content_columns = place[content_columns]  # -1 stays -1
        commonest = _commonest(counts[contents], cell)
        rows = np.setdiff1d(np.arange(len(contents)), commonest)
        if dense is None:
            differ = 1 - counts[contents[commonest]].sum() / max(codes.size, 1)
            looked_up = each * (1 + differ * codes.shape[1]) + 4 * len(rows) + 3 * codes.shape[1]
            dense = each * len(columns) * _COST_OF_PRODUCT < looked_up
        if dense:
            places = place[self.cells.column + values - self.cells.low].astype(np.int32)
            ends = np.arange(len(values) + 1) * values.shape[1]
            none = np.empty((0, content_columns.shape[1]), np.int64)
            coded = Coded(numbers, places.ravel(), ends, none, none[:, 0], none, True)
            return Batch(coded, columns)
        row_of = np.full(len(counts), -1, np.int32)
        row_of[contents[rows]] = np.arange(len(rows))
        items = row_of[codes]
        differs = items >= 0
        ends = np.concatenate([[0], differs.sum(1).cumsum()])
        coded = Coded(
            numbers,
            items[differs],
            ends,
            content_columns[rows],
            cell[rows],
            content_columns[commonest],
            False,
        )
        return Batch(coded, columns)


@compiled
def encode_cells(values: np.ndarray, cells: Cells, codes: np.ndarray) -> bool:
    """Writes the number of each cell's content, int32 [B, G], for values int32 [B, P].

    Returns:
        Whether all values are in their space.
    """
    for i in range(len(values)):
        row = values[i]
        for cell in range(len(cells.first) - 1):
            code = cells.base[cell]
            for p in range(cells.first[cell], cells.first[cell + 1]):
                value = row[p] - cells.low[p]
                if value < 0 or value >= cells.size[p]:
                    return False
                code += value * cells.factor[p]
            codes[i, cell] = code
    return True


def columns_of(contents: np.ndarray, cell: np.ndarray, cells: Cells) -> np.ndarray:
    """Returns the columns of the first layer that contents light up, int64 [N, C]; -1: no more.

    Args:
        contents: their numbers, int64 [N].
        cell: whose they are, int64 [N].
        cells: the cells.
    """
    first, width = cells.first, int(np.diff(cells.first).max(initial=1))
    code = contents - cells.base[cell]
    columns = np.full((len(contents), width), -1, np.int64)
    for number in range(width):
        position = first[cell] + number
        there = position < first[cell + 1]
        p = position[there]
        value = code[there] // cells.factor[p] % cells.size[p]
        columns[there, number] = cells.column[p] + value
    return columns


def _commonest(counts: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Returns where each cell's commonest content is, for counts [N] of contents cell by cell."""
    order = np.lexsort((counts, cell))
    last = np.flatnonzero(np.diff(cell[order], append=-1))
    return order[last]


def _cells(parts: Sequence[Part]) -> Cells:
    low = [value for part in parts for value in part.low]
    column = [value for part in parts for value in part.columns]
    factor: list[int] = []
    widths, contents = [0], [0]
    for part in parts:
        for sizes in part.cells:
            factor += [int(np.prod(sizes[:number])) for number in range(len(sizes))]
            widths.append(len(sizes))
            contents.append(int(np.prod(sizes)))
    size = [value for part in parts for value in part.sizes]
    arrays = (low, size, column, factor, np.cumsum(widths), np.cumsum(contents))
    return Cells(*(np.array(array, np.int64) for array in arrays))


def _rows(observations: Any, part: Part) -> np.ndarray:
    """Returns a leaf of nested tensors as an array [B, N]."""
    leaf = functools.reduce(getitem, part.path, observations)
    return np.asarray(leaf).reshape(len(leaf), -1)


def _joined(arrays: list[np.ndarray], dtype: Any, observations: Any) -> np.ndarray:
    if arrays:
        return np.ascontiguousarray(np.concatenate(arrays, axis=1), dtype)
    return np.empty((_length(observations), 0), dtype)


def _length(observations: Any) -> int:
    while isinstance(observations, dict | tuple):
        parts = observations.values() if isinstance(observations, dict) else observations
        observations = next(iter(parts))
    return len(observations)
