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
