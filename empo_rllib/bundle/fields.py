"""Values of a description that nobody has to trust, each checked when it is taken."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any, TypeVar

from .errors import BundleError

T = TypeVar("T")

# No policy comes near these: what claims more is refused before anything is allocated.
MAX_ENTRIES = 10_000
MAX_ELEMENTS = 2**26
MAX_DIMENSIONS = 16
MAX_NUMBER = 1e300

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def take(data: dict[str, Any], key: str, kind: type[T], place: str) -> T:
    """Returns `data[key]`, which must be of this kind; lists and dicts of bounded length.

    Raises:
        BundleError: it is missing or of another kind.
    """
    return checked(data.get(key), kind, f"{place}.{key}" if place else key)


def checked(value: Any, kind: type[T], place: str) -> T:
    """Returns `value`, which must be of this kind."""
    if type(value) is not kind:
        raise refused(place, value, f"must be {_WORDS[kind]}")
    if isinstance(value, list | dict) and len(value) > MAX_ENTRIES:
        raise BundleError(f"bundle.json: {place} has {len(value):,} entries; {MAX_ENTRIES:,} fit.")
    return value


def take_dicts(data: dict[str, Any], key: str, place: str) -> list[dict[str, Any]]:
    """Returns the list `data[key]` of dicts."""
    return [checked(entry, dict, f"{place}.{key}") for entry in take(data, key, list, place)]


def take_strings(data: dict[str, Any], key: str, place: str) -> tuple[str, ...]:
    """Returns the list `data[key]` of strings."""
    return tuple(checked(entry, str, f"{place}.{key}") for entry in take(data, key, list, place))


def number(value: Any, place: str) -> float:
    """Returns `value`, which must be a finite number of reasonable size."""
    if type(value) not in (int, float) or not abs(value) <= MAX_NUMBER:
        raise refused(place, value, f"must be a number of at most {MAX_NUMBER:.0e}")
    return float(value)


def take_sizes(data: dict[str, Any], key: str, place: str) -> tuple[int, ...]:
    """Returns the list `data[key]` of positive whole numbers."""
    sizes = tuple(checked(n, int, f"{place}.{key}") for n in take(data, key, list, place))
    if any(not 1 <= n <= MAX_ELEMENTS for n in sizes):
        raise refused(f"{place}.{key}", sizes, f"must be sizes of 1 to {MAX_ELEMENTS:,}")
    return sizes


def take_shape(data: dict[str, Any], key: str, place: str) -> tuple[int, ...]:
    """Returns the shape `data[key]` of an array, whose number of elements is bounded."""
    shape = take_sizes(data, key, place)
    if len(shape) > MAX_DIMENSIONS or math.prod(shape) > MAX_ELEMENTS:
        raise refused(f"{place}.{key}", shape, f"must have at most {MAX_ELEMENTS:,} elements")
    return shape


def one_of(value: Any, choices: Collection[str], place: str) -> str:
    """Returns `value`, which must be one of `choices`."""
    if type(value) is not str or value not in choices:
        raise refused(place, value, f"must be one of {', '.join(choices)}")
    return value


def file_name(value: Any, place: str) -> str:
    """Returns `value`, which must be a plain name: it leads to no other folder."""
    if type(value) is not str or not _FILE_NAME.fullmatch(value):
        raise refused(place, value, "must be a plain name of letters, digits, '.', '_' and '-'")
    return value


def refused(place: str, value: Any, rule: str) -> BundleError:
    """Returns the error for a value that breaks a rule; the value is cut short."""
    shown = "nothing" if value is None else f"{value!r:.60}"
    return BundleError(f"bundle.json: {place} = {shown} {rule}.")


_WORDS: dict[type, str] = {
    str: "a string",
    int: "a whole number",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
}
