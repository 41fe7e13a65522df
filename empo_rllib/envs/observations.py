"""An observation against its space: structure, shape, dtype, values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

#: The name of a finding, and what was seen.
Problem = tuple[str, str]
ArraySpace = spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary | spaces.Box

_STRUCTURE = "observation-wrong-structure"


def observation_problems(space: spaces.Space, seen: Any, path: str = "") -> Iterator[Problem]:
    """Yields what is wrong with an observation.

    Args:
        space: what it should be in.
        seen: the observation.
        path: where in the agent's observation this part is.
    """
    if isinstance(space, spaces.Dict):
        yield from _dict_problems(space, seen, path)
    elif isinstance(space, spaces.Tuple):
        yield from _tuple_problems(space, seen, path)
    elif isinstance(space, spaces.Discrete):
        low = int(space.start)
        yield from _array_problems(space, seen, path, (), (low, low + int(space.n) - 1))
    elif isinstance(space, spaces.MultiDiscrete):
        lows: Any = space.start
        bounds = lows, lows + space.nvec - 1
        yield from _array_problems(space, seen, path, space.shape, bounds)
    elif isinstance(space, spaces.MultiBinary):
        yield from _array_problems(space, seen, path, space.shape, (0, 1))
    elif isinstance(space, spaces.Box):
        yield from _array_problems(space, seen, path, space.shape, (space.low, space.high))
    elif not space.contains(seen):
        yield "observation-outside-space", f"{_name(path)} = {short(seen)} is not in {space}"


def arrays_of(seen: Any) -> Iterator[np.ndarray]:
    """Yields the arrays of a nested observation."""
    if isinstance(seen, Mapping):
        for part in seen.values():
            yield from arrays_of(part)
    elif isinstance(seen, list | tuple):
        for part in seen:
            yield from arrays_of(part)
    elif isinstance(seen, np.ndarray):
        yield seen


def short(value: Any) -> str:
    """Returns a value on one short line."""
    if isinstance(value, dict):  # numpy's integers are actions: 1, not np.int64(1)
        value = {key: v.item() if isinstance(v, np.generic) else v for key, v in value.items()}
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


def _dict_problems(space: spaces.Dict, seen: Any, path: str) -> Iterator[Problem]:
    if not isinstance(seen, Mapping):
        yield _STRUCTURE, f"{_name(path)} is {_kind(seen)}, where the space is a Dict"
        return
    if missing := [key for key in space.spaces if key not in seen]:
        yield _STRUCTURE, f"{_name(path)} has no {', '.join(map(repr, missing))}"
    if unknown := [key for key in seen if key not in space.spaces]:
        names = ", ".join(map(repr, unknown))
        yield _STRUCTURE, f"{_name(path)} has {names}, which the space has not"
    for key, part in space.spaces.items():
        if key in seen:
            yield from observation_problems(part, seen[key], f"{path}[{key!r}]")


def _tuple_problems(space: spaces.Tuple, seen: Any, path: str) -> Iterator[Problem]:
    if not isinstance(seen, tuple) or len(seen) != len(space.spaces):
        size = f" of {len(seen)}" if isinstance(seen, tuple) else ""
        expected = f"a Tuple of {len(space.spaces)}"
        yield _STRUCTURE, f"{_name(path)} is {_kind(seen)}{size}, where the space is {expected}"
        return
    for number, part in enumerate(space.spaces):
        yield from observation_problems(part, seen[number], f"{path}[{number}]")


def _array_problems(
    space: ArraySpace, seen: Any, path: str, shape: tuple[int, ...], bounds: tuple[Any, Any]
) -> Iterator[Problem]:
    is_number = isinstance(seen, int | float | np.generic) and shape == ()
    if not (isinstance(seen, np.ndarray) or is_number):
        expected = "a number" if isinstance(space, spaces.Discrete) else "an array"
        yield _STRUCTURE, f"{_name(path)} is {_kind(seen)}, where the space has {expected}"
        return
    array = np.asarray(seen)
    if array.dtype.kind not in "biuf":
        yield _STRUCTURE, f"{_name(path)} has dtype {array.dtype}, which holds no numbers"
    elif array.shape != shape:
        yield "observation-wrong-shape", f"{_name(path)} has shape {array.shape}, not {shape}"
    else:
        yield from _value_problems(_dtype_of(seen, space), space, array, path)
        yield from _bound_problems(array, path, *bounds)


def _dtype_of(seen: Any, space: ArraySpace) -> Any:
    """Returns its dtype; that of the space for a number of Python's, which has none to be wrong."""
    declared: Any = space.dtype
    of_any_size = isinstance(seen, int) or (isinstance(seen, float) and declared.kind == "f")
    return declared if of_any_size else np.asarray(seen).dtype


def _value_problems(
    dtype: Any, space: ArraySpace, array: np.ndarray, path: str
) -> Iterator[Problem]:
    declared = f"{_name(path)} has dtype {dtype}, the space {space.dtype}"
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        index = _first(~np.isfinite(array))
        yield "observation-not-finite", f"{_element(path, index)} = {array[index]}"
    if np.can_cast(dtype, np.dtype(space.dtype), "safe"):
        return
    if array.dtype.kind == "f" and np.dtype(space.dtype).kind in "biu":
        yield "observation-loses-values", declared
    elif not isinstance(space, spaces.Discrete):  # whose integers may be of any size
        yield "observation-wrong-dtype", declared


def _bound_problems(array: np.ndarray, path: str, low: Any, high: Any) -> Iterator[Problem]:
    # Compared in the space's precision: 0.1 in float64 is not above 0.1 in float32.
    precise = isinstance(low, np.ndarray) and low.dtype.kind == "f"
    with np.errstate(invalid="ignore", over="ignore"):
        values = array.astype(low.dtype) if precise else array
        below, above = values < low, values > high
    for outside, word, bound in ((below, "below", low), (above, "above", high)):
        if outside.any():
            index = _first(outside)
            limit = np.broadcast_to(bound, array.shape)[index]
            seen = f"{_element(path, index)} = {array[index]} is {word} the bound {limit}"
            yield "observation-outside-space", seen
            return


def _first(where: np.ndarray) -> tuple[int, ...]:
    """Returns the index of the first True."""
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(where)), np.shape(where)))


def _element(path: str, index: tuple[int, ...]) -> str:
    return f"{_name(path)}[{', '.join(map(str, index))}]" if index else _name(path)


def _name(path: str) -> str:
    return f"observation{path}"


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
