"""One seed for all random numbers of a process."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator


def seed_everything(seed: int) -> None:
    """Seeds Python, numpy and torch in this process."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def stream_seed(seed: int, *key: int) -> int:
    """Returns a seed of its own for each part of a run that draws random numbers.

    Sums would not do: seed 0 of env runner 2 is then seed 1 of env runner 1, and runs that differ
    in the seed are not independent.

    Args:
        seed: that of the run; returned as it is for the first part, whose `key` is all zeros.
        key: numbers of the part.
    """
    import numpy as np

    if not any(key):
        return seed
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1)[0])


@contextlib.contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Seeds Python, numpy and torch, which gets one thread; puts all back in the end."""
    import numpy as np
    import torch

    python_state, numpy_state = random.getstate(), np.random.get_state()
    num_threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        try:
            torch.set_num_threads(1)
            seed_everything(seed)
            yield
        finally:
            torch.set_num_threads(num_threads)
            np.random.set_state(numpy_state)
            random.setstate(python_state)
