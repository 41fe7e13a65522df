"""A random stream of its own for each copy: SplitMix64.

Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014; the constants
are those of Vigna's splitmix64.c.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from empo_rllib.envs.batched.kernel import part

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
_SECOND_FACTOR = np.uint64(0x94D049BB133111EB)
_HALF = np.uint64(32)


def first_states(seed: int | None, num_envs: int) -> np.ndarray:
    """Returns where each copy's stream starts, uint64 [N]; entry n does not depend on N."""
    return np.random.SeedSequence(seed).generate_state(num_envs, np.uint64)


@part
def below(episode: Any, bound: int) -> int:
    """Draws a whole number of 0 .. `bound` - 1 (< 2**32) from the stream of `episode`.

    The high 32 bits are scaled (Lemire, arXiv 1805.10941) without his rejection: no number is
    more than 2**-32 likelier than another.
    """
    episode.stream += _STEP
    bits = episode.stream
    bits = (bits ^ (bits >> np.uint64(30))) * _FIRST_FACTOR
    bits = (bits ^ (bits >> np.uint64(27))) * _SECOND_FACTOR
    bits ^= bits >> np.uint64(31)
    return np.int64(((bits >> _HALF) * np.uint64(bound)) >> _HALF)  # type: ignore[return-value]


@part
def shuffle(episode: Any, items: np.ndarray) -> None:
    """Puts `items` in an order of which each is equally likely (Fisher and Yates)."""
    for last in range(len(items) - 1, 0, -1):
        other = below(episode, last + 1)
        items[last], items[other] = items[other], items[last]
