"""Classes of the user's own that an experiment names as `package.module:Class`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.errors import ConfigError, belongs_to_python

if TYPE_CHECKING:
    from ray.rllib.callbacks.callbacks import RLlibCallback


def user_callbacks(config: ExperimentConfig) -> list[type[RLlibCallback]]:
    """Imports `algorithm.callbacks`, or raises ConfigError."""
    if not config.algorithm.callbacks:
        return []
    from ray.rllib.callbacks.callbacks import RLlibCallback

    paths = config.algorithm.callbacks
    return [import_class(path, "algorithm.callbacks", RLlibCallback) for path in paths]


def import_class(path: str, place: str, base: type) -> Any:
    """Imports a subclass of `base`, or raises ConfigError naming `place` in the file."""
    if belongs_to_python(path):
        raise ConfigError(
            f"{place} = {path!r} is not imported: it belongs to Python's own library. A package of "
            "your own needs another name."
        )
    module_name, _, name = path.partition(":")
    try:
        imported = getattr(importlib.import_module(module_name), name)
    except Exception as error:  # whatever the user's module raises while it is imported
        reason = error if isinstance(error, ImportError | AttributeError) else repr(error)
        raise ConfigError(f"{place} = {path!r} cannot be imported: {reason}") from error
    if not (isinstance(imported, type) and issubclass(imported, base)):
        raise ConfigError(
            f"{place} = {path!r} is not a subclass of {base.__module__}.{base.__name__}."
        )
    return imported
