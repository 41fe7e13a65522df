"""How functions over arrays are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

# Its types know no keyword of its compilation targets.
_njit: Any = numba.njit

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compiles a function that Python calls, at its first call, and keeps the machine code.

    Numba compiles anew when the file of the function changed, not when only a file changed from
    which that takes a `part`: after such an edit, delete `__pycache__/*.nbi` here.
    """
    try:
        return _njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # there is no folder that it may write to
        return _njit(nogil=True, error_model="numpy")(function)


def part(function: Function) -> Function:
    """Compiles a function that kernels call, into them.

    Without what Python would need to call it, which takes as long to compile as the rest.
    """
    return _njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
