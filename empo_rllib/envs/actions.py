"""What a policy chooses from, and what the environment gets of it.

Policies know three kinds of actions: Discrete and one-dimensional MultiDiscrete that count from 0,
and one-dimensional Boxes of floats. Environments have more:

    Discrete(n, start)                    Discrete(n); start is added, and it is an int of Python
    MultiDiscrete of any shape and start  MultiDiscrete of one dimension
    MultiBinary                           MultiDiscrete of twos
    Box of whole numbers                  MultiDiscrete, where no number has more than 256 values
    Box of floats                         Box of one dimension; what is beyond the bounds is clipped

Others are left as they are, for networks of the user's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from empo_rllib.errors import EnvError

ToEnv = Callable[[Any], Any]

_MOST_VALUES = 256


def adapt_action(space: spaces.Space) -> tuple[spaces.Space, ToEnv]:
    """Decides what a policy chooses from in place of an environment's action space.

    Returns:
        The policy's space, and what makes an action of `space` of an action of that one: a new
        object, which the environment may keep or change.

    Raises:
        EnvError: there is nothing to choose, or too much.
    """
    if isinstance(space, spaces.Discrete):
        start = int(space.start)
        return spaces.Discrete(int(space.n)), lambda action: int(action) + start
    if isinstance(space, spaces.MultiDiscrete):
        return _whole_numbers(space, space.nvec, space.start)
    if isinstance(space, spaces.MultiBinary):
        return _whole_numbers(space, np.full(space.shape, 2), np.zeros(space.shape, int))
    if isinstance(space, spaces.Box) and np.dtype(space.dtype).kind in "iub":
        return _whole_numbers(space, _values_of(space), space.low)
    if isinstance(space, spaces.Box):
        return _floats(space)
    return space, lambda action: action


def _whole_numbers(
    space: spaces.Space, sizes: np.ndarray, start: np.ndarray
) -> tuple[spaces.Space, ToEnv]:
    _refuse_empty(space)
    shape, dtype = space.shape or (), space.dtype

    def to_env(action: Any) -> np.ndarray:
        return (np.reshape(action, shape) + start).astype(dtype)

    return spaces.MultiDiscrete(sizes.ravel()), to_env


def _values_of(space: spaces.Box) -> np.ndarray:
    """Returns how many values each number of a Box of whole numbers takes."""
    sizes = [
        int(high) - int(low) + 1 for low, high in zip(space.low.flat, space.high.flat, strict=True)
    ]
    if max(sizes, default=0) > _MOST_VALUES:
        raise EnvError(
            f"actions in {space} are whole numbers of which one has {max(sizes):,} values; "
            f"policies choose among at most {_MOST_VALUES}. Make it a Box of floats, or narrow it."
        )
    return np.array(sizes).reshape(space.shape)


def _floats(space: spaces.Box) -> tuple[spaces.Space, ToEnv]:
    _refuse_empty(space)
    shape, low, high, dtype = space.shape, space.low, space.high, space.dtype

    def to_env(action: Any) -> np.ndarray:
        return np.asarray(np.clip(np.reshape(action, shape), low, high), dtype)

    if len(shape) == 1:
        return space, to_env
    return spaces.Box(low.ravel(), high.ravel(), dtype=np.dtype(dtype).type), to_env  # type: ignore[arg-type]


def _refuse_empty(space: spaces.Space) -> None:
    if 0 in (space.shape or ()):
        raise EnvError(f"actions in {space} hold no number, so there is nothing to choose.")
