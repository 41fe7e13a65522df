"""The rules of the experiment file that its types cannot say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from empo_rllib.config.params import Problem
from empo_rllib.config.search_space import Path, is_search_space
from empo_rllib.config.searchable import broken_rule
from empo_rllib.errors import nearest

if TYPE_CHECKING:
    from empo_rllib.config.schema import (
        EvaluationConfig,
        PolicyConfig,
        StopConfig,
        TuneSettings,
    )

PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_CLASS_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def integral(value: Any) -> Any:
    """Returns `2.0e+5` as the integer it is; anything else as it came."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def plain_name(value: Any) -> Any:
    """Refuses a string that cannot be the name of a folder or file everywhere."""
    if isinstance(value, str) and not PLAIN_NAME.fullmatch(value):
        raise broken_rule(
            " must be a plain name: letters, digits, '.', '_' and '-', at most 128, "
            "starting with a letter or digit."
        )
    return value


def class_path(value: Any) -> Any:
    """Refuses a string that is not `package.module:Class`."""
    if isinstance(value, str) and not _CLASS_PATH.fullmatch(value):
        raise broken_rule(" must have the form package.module:Class.")
    return value


def word_or_section(value: Any) -> str:
    """Tells the two members of a union apart by the form of the value."""
    return "word" if isinstance(value, str) else "section"


def allow_also(schema: dict[str, Any], alternative: dict[str, Any]) -> None:
    """Adds an alternative to a JSON Schema, in place."""
    if "anyOf" in schema:
        schema["anyOf"].append(alternative)
        return
    whole = dict(schema)
    schema.clear()
    schema["anyOf"] = [whole, alternative]


def check_metric_name(metric: str, metrics: tuple[str, ...]) -> None:
    """Refuses a metric that is not in the list; `<policy>` and `<agent>` match any name."""
    for known in metrics:
        prefix, placeholder, _ = known.partition("<")
        named = bool(placeholder) and metric.startswith(prefix) and metric not in (prefix, known)
        if named or (metric == known and not placeholder):
            return
    raise broken_rule(
        f" is not a metric.{nearest(metric, metrics)} There are {', '.join(metrics)}."
    )


def check_policies_form(value: Any) -> None:
    """Refuses what is neither `independent`, nor `shared`, nor a mapping with entries."""
    if isinstance(value, dict) and value:
        return
    if value not in ("independent", "shared"):
        suggestion = nearest(str(value), ("independent", "shared"))
        raise broken_rule(
            f" must be independent, shared or {{agent id or pattern: policy}}.{suggestion}"
        )


def check_policies(policies: Mapping[str, PolicyConfig]) -> None:
    """Refuses a policy that two keys describe differently, and a mapping that trains none."""
    first: dict[str, str] = {}
    for key, entry in policies.items():
        other = first.setdefault(entry.policy, key)
        if entry != policies[other]:
            raise broken_rule(
                f" describes the policy {entry.policy!r} twice, at {other!r} and {key!r}, with "
                "different train or checkpoint. Make them equal."
            )
    if not any(entry.train for entry in policies.values()):
        raise broken_rule(" trains no policy: give at least one train: true.")


def scheduler_problems(tune: TuneSettings, stop: StopConfig | None) -> list[Problem]:
    """Returns what keeps ASHA from having rungs between `grace_period` and its end."""
    if stop is None or tune.scheduler is None or isinstance(tune.scheduler, str):
        return []
    asha = tune.scheduler.asha
    last, whose = (asha.max_t, "max_t") if asha.max_t else (stop.env_steps, "stop.env_steps")
    if last is None:
        return [
            Problem(
                ("scheduler", "asha", "max_t"),
                None,
                " must be a number of env steps where stop.env_steps is null.",
            )
        ]
    if asha.grace_period <= last:
        return []
    rule = f" exceeds {whose} = {last}.\n    Lower the first or raise the second."
    return [Problem(("scheduler", "asha", "grace_period"), asha.grace_period, rule)]


def repetition_problems(
    tune: TuneSettings, spaces: Mapping[Path, Mapping[str, Any]]
) -> list[Problem]:
    """Refuses several rounds of trials that would be equal to the last digit."""
    random = any("grid_search" not in space for space in spaces.values())
    if tune.num_samples == 1 or ("seed",) not in spaces or random:
        return []
    rule = (
        " would run identical trials: the seed is a grid and no value is drawn at random.\n"
        "    Set it to 1, or give more seeds in the grid."
    )
    return [Problem(("num_samples",), tune.num_samples, rule)]


def evaluation_problems(evaluation: EvaluationConfig, tune: TuneSettings) -> list[Problem]:
    """Returns what keeps `tune.metric` from being measured."""
    if not tune.metric.startswith("evaluation/") or evaluation.interval > 0:
        return []
    rule = f" must be at least 1 where tune.metric is {tune.metric}."
    return [Problem(("interval",), evaluation.interval, rule)]


def leaves(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every innermost value with its dotted key; a search space counts as one value."""
    for key, value in data.items():
        if isinstance(value, dict) and value and not is_search_space(value):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
