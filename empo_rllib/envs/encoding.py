"""Observations as flat float32 vectors, in plain numpy.

Modules that know nothing of an observation's structure (RLlib's default ones) get one vector:

    Discrete, MultiDiscrete     one-hot, one block per dimension
    MultiGrid image             one-hot of type, colour and state of each cell
    other uint8 Box             divided by 255
    any other Box, MultiBinary  as float32
    Dict, Tuple                 their parts one after the other, in the order of the space
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from empo_rllib.errors import EnvError

#: Sizes of the three channels of a MultiGrid cell: object type, colour, and state (a door's state
#: or an agent's direction). An environment that adds object types of its own has more of them.
MULTIGRID_TYPES = 11
MULTIGRID_COLORS = 6
MULTIGRID_STATES = 4

Encoder = Callable[[Any, np.ndarray], None]


def grid_channels(space: spaces.Space) -> tuple[int, ...] | None:
    """Returns how many values each channel of a grid of categories takes; None for other spaces.

    A grid of categories is a uint8 Box of shape (width, height, channels) whose upper bound is the
    same in every cell of a channel and below 255, as `MultiGridParallelEnv` declares it; a picture
    has bounds of 255.
    """
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or len(space.shape) != 3:
        return None
    high = space.high.reshape(-1, space.shape[-1])
    if high.max() == 255 or (high != high[0]).any():
        return None
    return tuple(int(top) + 1 for top in high[0])


def flat_size(space: spaces.Space) -> int:
    """Returns the length of the vector that `flatten` makes of an observation of `space`.

    Raises:
        EnvError: the space has no fixed size (Text, Graph, Sequence).
    """
    return _encoder(space)[0]


def flat_space(space: spaces.Space) -> spaces.Box:
    """Returns the float32 Box of shape (flat_size(space),) that holds the flat observations."""
    low, high = _bounds(space)
    return spaces.Box(low, high, dtype=np.float32)


def flatten(space: spaces.Space, observation: Any) -> np.ndarray:
    """Returns `observation` as a float32 vector of shape (flat_size(space),)."""
    return flattener(space)(observation)


def flattener(space: spaces.Space) -> Callable[[Any], np.ndarray]:
    """Returns `flatten` for one space, with everything that depends on the space done once."""
    size, encode = _encoder(space)

    def flatten_observation(observation: Any) -> np.ndarray:
        flat = np.zeros(size, dtype=np.float32)
        encode(observation, flat)
        return flat

    return flatten_observation


def _encoder(space: spaces.Space) -> tuple[int, Encoder]:
    """Returns the flat size and a function that writes an observation into a vector of zeros."""
    if isinstance(space, spaces.Dict):
        return _joined(list(space.spaces.items()))
    if isinstance(space, spaces.Tuple):
        return _joined(list(enumerate(space.spaces)))
    if isinstance(space, spaces.Discrete):
        return _one_hot(np.array([space.n]), np.array([space.start]))
    if isinstance(space, spaces.MultiDiscrete):
        return _one_hot(space.nvec.ravel(), np.asarray(space.start).ravel())
    channels = grid_channels(space)
    if channels is not None:
        sizes = np.tile(channels, space.shape[0] * space.shape[1])  # type: ignore[index]
        return _one_hot(sizes, np.zeros_like(sizes))
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        return _numbers(space)
    raise EnvError(f"an observation space of kind {type(space).__name__} has no flat form")


def _joined(parts: list[tuple[Any, spaces.Space]]) -> tuple[int, Encoder]:
    encoders = []
    start = 0
    for key, space in parts:
        size, encode = _encoder(space)
        encoders.append((key, slice(start, start + size), encode))
        start += size

    def encode_parts(observation: Any, out: np.ndarray) -> None:
        for key, place, encode in encoders:
            encode(observation[key], out[place])

    return start, encode_parts


def _one_hot(sizes: np.ndarray, starts: np.ndarray) -> tuple[int, Encoder]:
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64) - starts

    def encode_categories(observation: Any, out: np.ndarray) -> None:
        out[offsets + np.ravel(observation)] = 1.0

    return int(sizes.sum()), encode_categories


def _numbers(space: spaces.Box | spaces.MultiBinary) -> tuple[int, Encoder]:
    scale = np.float32(1 / 255) if space.dtype == np.uint8 and _is_picture(space) else None

    def encode_numbers(observation: Any, out: np.ndarray) -> None:
        out[:] = np.ravel(observation)
        if scale is not None:
            out *= scale

    return math.prod(space.shape), encode_numbers


def _is_picture(space: spaces.Space) -> bool:
    return isinstance(space, spaces.Box) and bool((space.high == 255).any())


def _bounds(space: spaces.Space) -> tuple[np.ndarray, np.ndarray]:
    """Returns the bounds of each entry of the flat vector, in the order of `_encoder`."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        values = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
        lows, highs = zip(*map(_bounds, values), strict=True)
        return np.concatenate(lows), np.concatenate(highs)
    if isinstance(space, spaces.Box) and grid_channels(space) is None:
        scale = np.float32(255) if space.dtype == np.uint8 and _is_picture(space) else 1
        low, high = space.low.ravel(), space.high.ravel()
        return low.astype(np.float32) / scale, high.astype(np.float32) / scale
    size = flat_size(space)
    return np.zeros(size, dtype=np.float32), np.ones(size, dtype=np.float32)
