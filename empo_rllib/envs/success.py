"""Whether an episode succeeded."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

SUCCESS_KEYS = ("success", "is_success")

_LOG = logging.getLogger(__name__)


def episode_success(infos: Mapping[str, Mapping[str, Any]]) -> bool | None:
    """Whether an episode succeeded, from its agents' last infos.

    Environments say so under `success` (MultiGrid here) or `is_success` (the Gymnasium
    robotics convention, 0.0 or 1.0). What is neither true nor false counts as not told.

    Returns:
        Whether it succeeded for any agent; None where the environment does not tell.
    """
    flags = []
    for info in infos.values():
        for key in SUCCESS_KEYS:
            if info.get(key) is not None:
                flag = as_flag(info[key])
                if flag is None:
                    _warn_of_no_flag(key, repr(info[key])[:60])
                else:
                    flags.append(flag)
    return any(flags) if flags else None


def as_flag(value: Any) -> bool | None:
    """Returns a boolean, or a number that is 0 or 1, as a boolean; None for anything else."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, bool | np.bool_ | int | float | np.number) and value in (0, 1):
        return bool(value)
    return None


@functools.cache
def _warn_of_no_flag(key: str, value: str) -> None:
    """Says once in a process why there is no success rate."""
    _LOG.warning(
        "infos[...][%r] = %s is neither true nor false, so the episode counts as one that does not "
        "tell whether it succeeded. Return True or False, or use another key.",
        key,
        value,
    )
