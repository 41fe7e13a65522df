"""Imports RLlib, and with it Ray and torch, in two thirds of the time that it takes otherwise.

What is imported stays. The garbage collector would look through it again and again meanwhile, and
once more when the process ends. To be imported before anything that imports Ray.
"""

from __future__ import annotations

import gc

_was_enabled = gc.isenabled()
gc.disable()
try:
    import ray.rllib.algorithms.algorithm  # noqa: F401
finally:
    gc.freeze()
    if _was_enabled:
        gc.enable()
