"""How functions over arrays are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

# Its types lack some keywords.
_njit: Any = numba.njit

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compiles a function that Python calls, at its first call, and keeps the machine code.

    It must not create arrays: numba then counts references (NRT), in half of the time of a step.

    Numba compiles anew when the file of the function changed, not when only a file changed from
    which that takes a `part`: after such an edit, delete `__pycache__/*.nbi` here.
    """
    options = {"_nrt": False, "nogil": True, "error_model": "numpy"}
    try:
        return _njit(cache=True, **options)(function)
    except RuntimeError:  # there is no folder that it may write to
        return _njit(**options)(function)


def part(function: Function) -> Function:
    """Compiles a function that kernels call, into them.

    Without what Python would need to call it, which takes as long to compile as the rest.
    """
    wrappers = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return _njit(_nrt=False, forceinline=True, error_model="numpy", **wrappers)(function)
