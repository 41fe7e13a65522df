"""Settings of an experiment as tables and charts name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from empo_rllib.experiment.trial_table import SHORT_NAMES

_OBVIOUS = ("algorithm.params.", "env.kwargs.", "model.")


def label_of(params: Mapping[str, Any]) -> str:
    """Returns parameters as `lr 0.0005, entropy_coeff 0.01`."""
    names = short_names(list(params))
    return ", ".join(f"{names[key]} {setting_text(value)}" for key, value in params.items())


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Returns dotted keys without the sections that go without saying, as far as they differ."""
    shortened = {key: SHORT_NAMES.get(key, key) for key in keys}
    for key in keys:
        for section in _OBVIOUS:
            shortened[key] = shortened[key].removeprefix(section)
    names = list(shortened.values())
    return {key: name if names.count(name) == 1 else key for key, name in shortened.items()}


def setting_text(value: Any) -> str:
    """Returns a value of an experiment file."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)
