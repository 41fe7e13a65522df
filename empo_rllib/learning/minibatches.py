"""Which rows each minibatch has: as RLlib's `MiniBatchCyclicIterator` deals them (Ray 2.60)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch


def count_minibatches(sizes: Iterable[int], minibatch_size: int, num_epochs: int) -> int:
    """Returns how many minibatches every policy gets: until the one with the most rows is through.

    Args:
        sizes: number of rows of each policy, artificial ones included.
        minibatch_size: rows of a minibatch.
        num_epochs: how often each row is to be seen at least.
    """
    return max(math.ceil(size * num_epochs / minibatch_size) for size in sizes)


def deal_rows(size: int, minibatch_size: int, count: int, shuffle: bool) -> np.ndarray:
    """Returns int64 [count, minibatch_size]: rows of a policy, epoch after epoch.

    An epoch goes on where a minibatch ends, so that all minibatches are full.

    Args:
        size: number of rows.
        minibatch_size: rows of a minibatch; may be more than `size`.
        count: number of minibatches.
        shuffle: every epoch has an order of its own, drawn from torch's global generator. RLlib
            leaves the first epoch in the order of time.
    """
    epochs = range(math.ceil(count * minibatch_size / size))
    order = [torch.randperm(size) if shuffle else torch.arange(size) for _ in epochs]
    rows = torch.cat(order)[: count * minibatch_size]
    return rows.reshape(count, minibatch_size).numpy()


def deal_sequences(
    sizes: np.ndarray, minibatch_size: int, count: int, shuffle: bool
) -> list[np.ndarray]:
    """Returns which sequences each minibatch has, int64 [S] each, epoch after epoch.

    Minibatches are where `deal_rows` has them in the stream of rows. A sequence belongs to the one
    that its first row is in, whole: minibatches have `minibatch_size` rows in the mean, and may
    have less than a sequence more or fewer.

    Args:
        sizes: int64 [Q], rows of each sequence.
        minibatch_size: rows of a minibatch.
        count: number of minibatches.
        shuffle: every epoch has an order of its own, drawn from torch's global generator.
    """
    epochs = range(math.ceil(count * minibatch_size / sizes.sum()))
    order = [torch.randperm(len(sizes)) if shuffle else torch.arange(len(sizes)) for _ in epochs]
    dealt = torch.cat(order).numpy()
    first_rows = sizes[dealt].cumsum() - sizes[dealt]
    ends = np.searchsorted(first_rows, np.arange(1, count + 1) * minibatch_size)
    return np.split(dealt[: ends[-1]], ends[:-1])
