from __future__ import annotations

import numpy as np
import pytest
import torch
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.minibatch_utils import MiniBatchCyclicIterator

from empo_rllib.learning.minibatches import count_minibatches, deal_rows

CASES = [
    ({"a": 40}, 10, 2),  # a whole number of minibatches
    ({"a": 41}, 10, 2),
    ({"a": 39}, 10, 3),
    ({"a": 7}, 16, 2),  # a minibatch has more rows than there are
    ({"a": 40, "b": 13}, 8, 2),
    ({"a": 5, "b": 100}, 32, 1),
    ({"a": 10}, 10, 4),
]


@pytest.mark.parametrize(("sizes", "minibatch_size", "num_epochs"), CASES, ids=str)
def test_rows_in_order_are_dealt_as_rllibs_iterator_deals_them(sizes, minibatch_size, num_epochs):
    batch = MultiAgentBatch(
        {name: SampleBatch({"row": np.arange(size)}) for name, size in sizes.items()}, 1
    )
    expected = list(
        MiniBatchCyclicIterator(
            batch,
            num_epochs=num_epochs,
            minibatch_size=minibatch_size,
            shuffle_batch_per_epoch=False,
        )
    )
    count = count_minibatches(sizes.values(), minibatch_size, num_epochs)
    assert count == len(expected)
    for name, size in sizes.items():
        rows = deal_rows(size, minibatch_size, count, shuffle=False)
        theirs = [minibatch.policy_batches[name]["row"] for minibatch in expected]
        assert rows.tolist() == [row.tolist() for row in theirs]


def test_every_epoch_has_each_row_once_in_an_order_of_its_own():
    rows = deal_rows(30, 10, 9, shuffle=True).reshape(3, 30)
    assert [sorted(epoch) for epoch in rows.tolist()] == [list(range(30))] * 3
    orders = {tuple(epoch) for epoch in rows.tolist()}
    assert len(orders) == 3
    assert tuple(range(30)) not in orders


def test_the_order_follows_torchs_seed():
    orders = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        orders.append(deal_rows(30, 7, 5, shuffle=True).tolist())
    assert orders[0] == orders[1] != orders[2]
