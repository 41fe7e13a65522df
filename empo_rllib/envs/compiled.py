"""How loops over arrays are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

# Its types lack some of what it takes.
_njit: Any = numba.njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function, **options: Any) -> Function:
    """Compiles a function at its first call, and keeps the machine code where it can.

    Args:
        function: whose arguments are numbers and arrays.
        **options: of `numba.njit`.
    """
    try:
        return _njit(cache=True, **options)(function)
    except RuntimeError:  # there is no folder that it may write to
        return _njit(**options)(function)
