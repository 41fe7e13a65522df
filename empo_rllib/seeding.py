"""One seed for all random numbers of a process."""

from __future__ import annotations

import random


def seed_everything(seed: int) -> None:
    """Seeds Python, numpy and torch in this process."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
