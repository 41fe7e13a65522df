"""Multi-agent reinforcement learning on Ray RLlib, from one experiment file.

Importing this package imports neither Ray nor torch; its functions do so when they are called.
"""

from __future__ import annotations

import logging
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from empo_rllib.version import __version__ as __version__

if TYPE_CHECKING:
    from empo_rllib.algorithms.accelerate import accelerate
    from empo_rllib.bundle import load_bundle
    from empo_rllib.config.load import load_config
    from empo_rllib.envs.registry import make_env, register_envs
    from empo_rllib.experiment.tuner import run
    from empo_rllib.results.evaluate import evaluate
    from empo_rllib.sampling.callback import SampleCallback

_HOMES = {
    "SampleCallback": "empo_rllib.sampling.callback",
    "accelerate": "empo_rllib.algorithms.accelerate",
    "evaluate": "empo_rllib.results.evaluate",
    "load_bundle": "empo_rllib.bundle",
    "load_config": "empo_rllib.config.load",
    "make_env": "empo_rllib.envs.registry",
    "register_envs": "empo_rllib.envs.registry",
    "run": "empo_rllib.experiment.tuner",
}

__all__ = [
    "SampleCallback",
    "accelerate",
    "evaluate",
    "load_bundle",
    "load_config",
    "make_env",
    "register_envs",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # In a notebook Ray and tqdm, which most of these import, would ask for widgets that nothing
    # here uses.
    logging.getLogger("ray.widgets").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="IProgress not found")
    return getattr(import_module(_HOMES[name]), name)
