"""How loops over arrays are compiled, and where their machine code is kept.

Numba looks at a function's own file to see whether its machine code is still that of the source.
What is built into it from other files, such as a function that it calls, is overlooked, and stays
as it was. So the folder of the machine code is named after all that it is made of.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core.dispatcher import Dispatcher

# Its types lack some of what it takes.
_njit: Any = numba.njit
_config: Any = numba.config

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function, **options: Any) -> Function:
    """Compiles a function at its first call, and keeps the machine code where it can.

    That is the folder that `NUMBA_CACHE_DIR` names, `__pycache__` beside the source where it may be
    written, or the user's cache folder. Numba tells types of CPU apart there.

    Args:
        function: whose arguments are numbers and arrays.
        **options: of `numba.njit`.
    """
    chosen = _config.CACHE_DIR
    try:
        _config.CACHE_DIR = str(_folder(function))
        return _njit(cache=True, **options)(function)
    except RuntimeError:  # there is no folder that it may write to
        return _njit(**options)(function)
    finally:
        _config.CACHE_DIR = chosen


def _folder(function: Any) -> Path:
    """Returns where the machine code of a function goes.

    Raises:
        RuntimeError: the user has no home.
    """
    beside = Path(function.__code__.co_filename).parent
    if _config.CACHE_DIR:
        base = Path(_config.CACHE_DIR, "empo_rllib")
    elif os.access(beside, os.W_OK):
        base = beside / "__pycache__"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "empo_rllib")
    return base / f"numba-{_digest(function)}"


@functools.cache
def _digest(function: Any) -> str:
    """Returns a name for what a function is made of."""
    return hashlib.sha256("\n".join(_made_of(function)).encode()).hexdigest()[:16]


def _made_of(function: Any) -> Iterator[str]:
    """Yields the function's file, and what its names stand for that come from other files."""
    yield Path(function.__code__.co_filename).read_text()
    for name, value in sorted(function.__globals__.items()):
        if isinstance(value, Dispatcher) and value.py_func.__module__ != function.__module__:
            yield f"{name}: {_digest(value.py_func)}"
        elif isinstance(value, int | float | tuple):
            yield f"{name} = {value!r}"
        elif isinstance(value, type) and hasattr(value, "_fields"):  # a NamedTuple
            yield f"{name}: {value._fields}"
