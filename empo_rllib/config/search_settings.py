"""The setting `tune.search`: who chooses the values of search spaces, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from empo_rllib.config.fields import Count, Section, Seed
from empo_rllib.config.problems import Problem
from empo_rllib.config.search_space import Path, is_number, kind_and_options
from empo_rllib.errors import nearest

SEED: Path = ("seed",)


class OptunaConfig(Section):
    """Optuna chooses the values of each trial from the results of the earlier ones."""

    sampler: Literal["tpe", "cmaes"] = Field(
        default="tpe",
        description="tpe: tree-structured Parzen estimator, for numbers and choices; cmaes: "
        "CMA-ES, for at least two numbers and no choices",
    )
    multivariate: bool = Field(
        default=True,
        description="tpe: whether it models keys together; false: each key by itself",
    )
    seed: Seed | None = Field(
        default=None, description="seed of the sampler; null: the experiment's (0 if searched)"
    )
    n_startup_trials: Count = Field(
        default=10, description="trials with random values before the sampler chooses"
    )
    points_to_evaluate: list[dict[str, Any]] = Field(
        default=[],
        description="values that the first trials have, each {dotted key: value}; Optuna chooses "
        "the keys left out",
    )


class OptunaSearch(Section):
    """Optuna with its options; `optuna` alone is short for `{optuna: {}}`."""

    optuna: OptunaConfig = Field(description="options of Optuna")


def search_problems(
    search: OptunaSearch | None, num_samples: int, spaces: Mapping[Path, Mapping[str, Any]]
) -> list[Problem]:
    """Returns what Optuna cannot search, and points that do not lie in the search spaces.

    Args:
        search: `tune.search`.
        num_samples: `tune.num_samples`.
        spaces: every search space of the experiment by path.
    """
    if search is None:
        return []
    settings = search.optuna
    return [*_space_problems(settings, spaces), *_point_problems(settings, num_samples, spaces)]


def _space_problems(
    settings: OptunaConfig, spaces: Mapping[Path, Mapping[str, Any]]
) -> Iterator[Problem]:
    kinds = {".".join(path): kind_and_options(space)[0] for path, space in spaces.items()}
    if grids := [key for key, kind in kinds.items() if kind == "grid_search"]:
        yield Problem(
            ("search",),
            "optuna",
            f" cannot search grids: {', '.join(grids)}. Make them choice, or drop tune.search.",
        )
    searched = {key: kind for key, kind in kinds.items() if key != SEED[0]}
    if not searched:
        yield Problem(
            ("search",),
            "optuna",
            " has nothing to search: no key but the seed, which is always drawn at random, has a "
            "search space.",
        )
    if settings.sampler != "cmaes":
        return
    choices = [key for key, kind in searched.items() if kind == "choice"]
    if choices or len(searched) < 2:
        found = f"choices: {', '.join(choices)}" if choices else f"{len(searched)} number(s)"
        rule = f" needs at least two numbers and no choices, and found {found}. Use tpe."
        yield Problem(("search", "optuna", "sampler"), "cmaes", rule)
    if not settings.multivariate:
        rule = " must be true with cmaes, which always models keys together."
        yield Problem(("search", "optuna", "multivariate"), False, rule)


def _point_problems(
    settings: OptunaConfig, num_samples: int, spaces: Mapping[Path, Mapping[str, Any]]
) -> Iterator[Problem]:
    place = ("search", "optuna", "points_to_evaluate")
    points = settings.points_to_evaluate
    if len(points) > num_samples:
        rule = f" has {len(points)} points for num_samples = {num_samples} trials."
        yield Problem(place, points, rule)
    searched = {".".join(path): space for path, space in spaces.items() if path != SEED}
    for number, point in enumerate(points):
        for key, value in point.items():
            if key not in searched:
                rule = (
                    f" is the value of a key that Optuna does not search.{nearest(key, searched)}"
                )
                yield Problem((*place, str(number), key), value, rule)
            elif not _holds(searched[key], value):
                rule = f" is not in the search space {dict(searched[key])}."
                yield Problem((*place, str(number), key), value, rule)


def _holds(space: Mapping[str, Any], value: Any) -> bool:
    """Whether a valid search space other than a grid holds a value."""
    kind, options = kind_and_options(space)
    if kind == "choice":
        return value in options
    if kind == "grid_search":  # refused elsewhere
        return True
    low, high = options
    if kind == "randint":
        return isinstance(value, int) and is_number(value) and low <= value < high
    return is_number(value) and low <= value <= high
