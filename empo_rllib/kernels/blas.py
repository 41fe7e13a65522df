"""The BLAS that numba's matrix products call: scipy's."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from typing import Any

import threadpoolctl


def one_blas_thread() -> AbstractContextManager[Any]:
    """Keeps matrix products on one thread.

    More threads are slower with such small matrices, wait for each other on a busy machine, and
    round in another way.
    """
    limited: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limited


@functools.cache
def _controller() -> Any:
    import scipy.linalg.cython_blas  # noqa: F401  # loads the library, for the controller to find

    return threadpoolctl.ThreadpoolController().select(user_api="blas")
