"""What a user's callbacks log, as columns of a row: `custom/my_metric`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tree
from ray.rllib.utils import metrics as rllib_names
from ray.rllib.utils.metrics.metrics_logger import MetricsLogger
from ray.tune.result import AUTO_RESULT_KEYS, DONE, TRIAL_ID

from empo_rllib import columns
from empo_rllib.experiment.metrics import evaluation_of
from empo_rllib.sampling.episode_window import SAMPLED_EPISODES

# What RLlib, Tune and this package log themselves (Ray 2.60), beside throughputs of the same names.
_KNOWN = {
    *(value for value in vars(rllib_names).values() if isinstance(value, str)),
    *AUTO_RESULT_KEYS,
    DONE,
    TRIAL_ID,
    SAMPLED_EPISODES,
    "env_runner_group",
    "perf",
}
_THROUGHPUT = "_throughput"
# TensorBoard writes others as underscores, too: rows may have to be recovered from its events.
_NOT_IN_NAMES = re.compile(r"[^-/\w.]")


def custom_metrics(
    result: Mapping[str, Any], metrics: MetricsLogger
) -> tuple[dict[str, float], list[str]]:
    """Returns what callbacks have logged in a training iteration.

    Where an env runner and the algorithm log the same name, the algorithm's value counts.

    Args:
        result: What RLlib's `Algorithm.train` returned.
        metrics: The algorithm's. It still holds what was logged after RLlib had compiled the
            result, in `on_evaluate_end` and `on_train_result`; that is taken out.

    Returns:
        Numbers by column, and the columns whose values are not numbers. Like RLlib's NaN, which
        means that nothing was logged in this iteration, infinity is left out.
    """
    logged = [
        *_values(_own(result.get("env_runners", {})), columns.CUSTOM),
        *_values(_own(result), columns.CUSTOM),
        *_values(_logged_since(metrics), columns.CUSTOM),
        *_values(_own(evaluation_of(result)), columns.EVALUATION + columns.CUSTOM),
    ]
    numbers = {
        column: float(value)
        for column, value in logged
        if _is_number(value) and math.isfinite(value)
    }
    others = {column for column, value in logged if not _is_number(value) and not _is_empty(value)}
    return numbers, sorted(others)


def _own(logged: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what is not RLlib's or this package's."""
    return {
        name: value
        for name, value in logged.items()
        if str(name).removesuffix(_THROUGHPUT) not in _KNOWN
    }


def _logged_since(metrics: MetricsLogger) -> dict[str, Any]:
    """Compiles what was logged since the result was, as RLlib would in the next iteration."""
    late: dict[str, Any] = tree.map_structure(
        lambda stats: stats.reduce(compile=True), _own(metrics.stats)
    )
    return late


def _values(logged: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in logged.items():
        column = prefix + _NOT_IN_NAMES.sub("_", str(name))
        if isinstance(value, Mapping):
            yield from _values(value, f"{column}/")
        else:
            yield column, value


def _is_number(value: Any) -> bool:
    """Whether a value is one number, of Python, numpy or torch."""
    try:
        float(value)
        return not isinstance(value, str) and np.ndim(value) == 0
    except (TypeError, ValueError):
        return False


def _is_empty(value: Any) -> bool:
    """Whether RLlib says that nothing was logged."""
    return value is None or (isinstance(value, list) and not value)
