"""Spaces as plain data, and the tensors that observations of a space consist of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from empo_rllib.bundle.policy import TENSOR_TYPES, Input
from empo_rllib.errors import BundleError

_LEAVES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
_PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"


def observation_inputs(space: spaces.Space) -> tuple[Input, ...]:
    """Returns the tensors that observations of `space` consist of, in the order of the space.

    float64 becomes float32, as RLlib does it.

    Raises:
        BundleError: the space has parts that are no tensors of fixed shape.
    """
    parts = list(_leaves(space, ()))
    names = [".".join(["observation", *map(_plain_name, path)]) for path, _ in parts]
    if len(set(names)) < len(names):
        names = [f"{name}_{number}" for number, name in enumerate(names)]
    return tuple(
        Input(name, path, _dtype(part), tuple(part.shape or ()))
        for name, (path, part) in zip(names, parts, strict=True)
    )


def nest(space: spaces.Space, parts: Iterator[Any]) -> Any:
    """Returns an observation of `space` made of `parts`, in the order of `observation_inputs`."""
    if isinstance(space, spaces.Dict):
        return {key: nest(part, parts) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(nest(part, parts) for part in space.spaces)
    return next(parts)


def space_data(space: spaces.Space) -> dict[str, Any]:
    """Returns a space as data for `bundle.json`; unlimited bounds are null."""
    data: dict[str, Any] = {"type": type(space).__name__}
    if isinstance(space, spaces.Dict):
        return data | {"parts": {str(key): space_data(part) for key, part in space.items()}}
    if isinstance(space, spaces.Tuple):
        return data | {"parts": [space_data(part) for part in space.spaces]}
    if isinstance(space, spaces.Discrete):
        return data | {"n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return data | {"nvec": space.nvec.tolist(), "start": np.asarray(space.start).tolist()}
    data |= {"shape": list(space.shape or ()), "dtype": str(space.dtype)}
    if isinstance(space, spaces.Box):
        data |= {"low": plain(_brief(space.low)), "high": plain(_brief(space.high))}
    return data


def plain(value: Any) -> Any:
    """Returns `value` as JSON has it: nothing but its types, and null for what is not finite."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)


def _leaves(
    space: spaces.Space, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], spaces.Space]]:
    parts: Sequence[tuple[str | int, spaces.Space]]
    if isinstance(space, spaces.Dict | spaces.Tuple):
        is_dict = isinstance(space, spaces.Dict)
        parts = list(space.spaces.items()) if is_dict else list(enumerate(space.spaces))  # type: ignore[union-attr, arg-type]
        for key, part in parts:
            yield from _leaves(part, (*path, key))
    elif isinstance(space, _LEAVES):
        yield path, space
    else:
        raise BundleError(
            f"observations of kind {type(space).__name__} cannot be exported: they are no tensors "
            "of fixed shape."
        )


def _dtype(space: spaces.Space) -> str:
    name = "float32" if space.dtype == np.float64 else str(space.dtype)
    if name not in TENSOR_TYPES:
        raise BundleError(f"observations of dtype {name} cannot be exported.")
    return name


def _plain_name(key: str | int) -> str:
    return "".join(char if char in _PLAIN else "_" for char in str(key))


def _brief(bounds: np.ndarray) -> np.ndarray:
    """Leaves out leading dimensions along which all bounds are equal; numpy broadcasts them."""
    while bounds.ndim and (bounds == bounds[:1]).all():
        bounds = bounds[0]
    return bounds
