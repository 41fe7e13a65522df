"""Rows that a network with a memory reads one after the other, as sequences side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Sequences:
    """Rows of a policy, cut into sequences.

    A sequence is of one agent and one episode, and has at most `max_seq_len` steps. The artificial
    row after the last step of an agent is the last row of that step's sequence.

    Attributes:
        starts: int64 [Q], the first row of each.
        sizes: int64 [Q], how many rows follow each other from there, an artificial one included.
        states: tensors [Q, ...], nested as the network's state is: what was remembered in sampling
            before the first row.
    """

    starts: np.ndarray
    sizes: np.ndarray
    states: Any

    def side_by_side(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows of some sequences, padded to the longest of them.

        Args:
            chosen: int64 [S], of the sequences.

        Returns:
            index: int64 [S, T], rows; a sequence's last is repeated after its end.
            is_row: bool [S, T]: False where it is.
        """
        sizes = self.sizes[chosen, None]
        places = np.arange(sizes.max(initial=0))
        return self.starts[chosen, None] + np.minimum(places, sizes - 1), places < sizes


def cut(is_step: np.ndarray, max_seq_len: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns `starts` and `sizes` of `Sequences`.

    Args:
        is_step: bool [L], as `Rows.is_step`: the steps of each agent in an episode follow each
            other, and end with an artificial row.
        max_seq_len: steps of a sequence, at most.
    """
    rows = np.arange(len(is_step))
    begins = np.append(True, ~is_step[:-1])
    step_in_run = rows - np.maximum.accumulate(np.where(begins, rows, 0))
    starts = np.flatnonzero(is_step & (step_in_run % max_seq_len == 0))
    return starts, np.diff(starts, append=len(is_step))
