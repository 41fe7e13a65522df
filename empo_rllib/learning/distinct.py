"""Finding equal rows exactly, so that a network need not see the same observation twice."""

from __future__ import annotations

import numpy as np

from empo_rllib.envs.compiled import compiled


def distinct_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns which rows differ, as `np.unique(.., axis=0)` does, but in linear time and unsorted.

    Rows are the same when all their bytes are: a hash only says where to look for an equal one.

    Args:
        rows: uint8 [L, W].

    Returns:
        first: int64 [U], the first of each kind of row.
        kind: int64 [L], the position in `first` of the row that equals this one.
    """
    factors = np.random.default_rng(0).integers(0, 2**64, rows.shape[1], np.uint64) | np.uint64(1)
    return group_by_hash(rows, factors)


@compiled
def group_by_hash(rows: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns what `distinct_rows` does; a row's hash is the product of its bytes and `factors`."""
    size = 2
    while size < 2 * len(rows):
        size *= 2
    table = np.full(size, -1, np.int64)  # of positions in `first`
    first = np.empty(len(rows), np.int64)
    kind = np.empty(len(rows), np.int64)
    count = 0
    mask = size - 1
    hashes = np.empty(len(rows), np.uint64)
    for i in range(len(rows)):
        row = rows[i]
        total = np.uint64(0)
        for j in range(len(row)):
            total += np.uint64(row[j]) * factors[j]
        total ^= total >> np.uint64(32)  # the high bits of a product are the random ones
        slot = np.int64(total) & mask
        while table[slot] >= 0:
            known = table[slot]
            if hashes[known] == total and np.array_equal(rows[first[known]], row):
                break
            slot = (slot + 1) & mask  # linear probing
        if table[slot] < 0:
            table[slot] = count
            first[count] = i
            hashes[count] = total
            count += 1
        kind[i] = table[slot]
    return first[:count], kind


@compiled
def distinct_of_blocks(
    kinds: np.ndarray, ends: np.ndarray, num_kinds: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns which kinds occur in each of several blocks of rows.

    Args:
        kinds: int64 [R], block after block.
        ends: int64 [B], where each block ends in `kinds`.
        num_kinds: more than any of `kinds`.

    Returns:
        found: int64 [F], for block after block the kinds in it, each once.
        found_ends: int64 [B], where each block ends in `found`.
        position: int64 [R], where the row's kind is among those of its block.
    """
    found = np.empty(len(kinds), np.int64)
    found_ends = np.empty(len(ends), np.int64)
    position = np.empty(len(kinds), np.int64)
    last_block = np.full(num_kinds, -1, np.int64)
    place = np.empty(num_kinds, np.int64)
    begin, count = 0, 0
    for block in range(len(ends)):
        block_start = count
        for i in range(begin, ends[block]):
            kind = kinds[i]
            if last_block[kind] != block:
                last_block[kind] = block
                place[kind] = count - block_start
                found[count] = kind
                count += 1
            position[i] = place[kind]
        begin = ends[block]
        found_ends[block] = count
    return found[:count], found_ends, position
