from __future__ import annotations

import numpy as np
import pytest

from empo_rllib.learning.distinct import distinct_of_blocks, distinct_rows, group_by_hash


@pytest.mark.parametrize(("rows", "width", "values"), [(500, 3, 4), (500, 1, 256), (1, 5, 2)])
def test_rows_are_grouped_as_numpy_groups_them(rows, width, values):
    table = np.random.default_rng(0).integers(0, values, (rows, width)).astype(np.uint8)
    first, kind = distinct_rows(table)
    assert len(first) == len(np.unique(table, axis=0)) == len(np.unique(table[first], axis=0))
    assert (table[first][kind] == table).all()
    assert (first[kind] <= np.arange(rows)).all()


def test_rows_are_told_apart_by_their_bytes_when_all_hashes_are_the_same():
    table = np.random.default_rng(0).integers(0, 3, (200, 4)).astype(np.uint8)
    expected, found = distinct_rows(table), group_by_hash(table, np.zeros(4, np.uint64))
    assert found[0].tolist() == expected[0].tolist()
    assert found[1].tolist() == expected[1].tolist()


def test_rows_that_differ_in_one_bit_anywhere_differ():
    rows = np.zeros((8 * 16 + 1, 16), np.uint8)
    for bit in range(8 * 16):
        rows[bit + 1, bit // 8] = 1 << bit % 8
    first, kind = distinct_rows(rows)
    assert first.tolist() == kind.tolist() == list(range(len(rows)))


def test_each_block_names_its_kinds_once():
    kinds = np.array([4, 4, 2, 2, 4, 7, 7, 0, 7])
    ends = np.array([3, 6, 6, 9])  # one of them is empty
    found, found_ends, position = distinct_of_blocks(kinds, ends, 8)
    blocks = np.split(found, found_ends[:-1])
    assert [block.tolist() for block in blocks] == [[4, 2], [2, 4, 7], [], [7, 0]]
    positions = np.split(position, ends[:-1])
    rebuilt = [block[place].tolist() for block, place in zip(blocks, positions, strict=True)]
    assert rebuilt == [block.tolist() for block in np.split(kinds, ends[:-1])]
