"""How functions over arrays are compiled."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

from empo_rllib.envs.compiled import compiled

# Its types lack some keywords.
_njit: Any = numba.njit


def _forget_old_machine_code() -> None:
    """Removes what numba kept in this folder before one of its files changed.

    Numba itself compiles anew when the file of a kernel changed, not when only a file changed
    from which that takes a `part`.
    """
    folder = Path(__file__).parent
    changed = max(source.stat().st_mtime for source in folder.glob("*.py"))
    for index in (folder / "__pycache__").glob("*.nbi"):
        with contextlib.suppress(OSError):  # another process may do the same
            if index.stat().st_mtime < changed:
                index.unlink()


_forget_old_machine_code()

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compiles a function that Python calls, at its first call, and keeps the machine code.

    It must not create arrays: numba then counts references (NRT), in half of the time of a step.
    """
    return compiled(function, _nrt=False, nogil=True, error_model="numpy")


def part(function: Function) -> Function:
    """Compiles a function that kernels call, into them.

    Without what Python would need to call it, which takes as long to compile as the rest.
    """
    wrappers = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return _njit(_nrt=False, forceinline=True, error_model="numpy", **wrappers)(function)
