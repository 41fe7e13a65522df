"""The trials of an experiment: from a file with open values to one closed experiment for each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from empo_rllib.config.load import validate_config
from empo_rllib.config.population_settings import settings_of
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.config.search_space import (
    in_drawing_order,
    is_open_in,
    kind_and_options,
    open_values,
)


@dataclass(frozen=True)
class TrialSpec:
    """One trial of an experiment.

    Attributes:
        trial_id: `trial_00000` and so on, in the order of the plan.
        seed: the trial's own seed.
        params: the value drawn for each search space other than the seed, by dotted key.
    """

    trial_id: str
    seed: int
    params: dict[str, Any] = field(default_factory=dict)


def sample_trials(config: ExperimentConfig) -> list[TrialSpec]:
    """Returns the trials of an experiment; the same experiment always gives the same ones.

    The grid is the product of all `grid_search` values and is run `tune.num_samples` times. Random
    values are drawn anew for each trial by a generator seeded with `seed` (0 where that is itself
    searched), in the order of the file; those that depend on others come after these. Round `k` of
    a fixed `seed` runs with `seed + k`; a searched seed is taken as it is.

    Args:
        config: the experiment, with search spaces or without.

    Returns:
        At least one trial.
    """
    spaces = in_drawing_order(open_values(config.to_dict()))
    grids = {path: space["grid_search"] for path, space in spaces.items() if "grid_search" in space}
    fixed_seed = None if ("seed",) in spaces else config.seed
    points = iter(
        [] if config.tune.search is None else config.tune.search.optuna.points_to_evaluate
    )
    rng = np.random.default_rng(fixed_seed or 0)
    trials: list[TrialSpec] = []
    for round_ in range(config.tune.num_samples):
        for combination in itertools.product(*grids.values()):
            chosen, point = dict(zip(grids, combination, strict=True)), next(points, {})
            params: dict[str, Any] = {}
            for path, space in spaces.items():
                if is_open_in(space, params):
                    value = chosen[path] if path in chosen else draw(space, rng)
                    params[".".join(path)] = point.get(".".join(path), value)
            seed = params.pop("seed") if fixed_seed is None else fixed_seed + round_
            trials.append(TrialSpec(f"trial_{len(trials):05d}", seed, params))
    return trials


def has_values(config: ExperimentConfig, spec: TrialSpec) -> bool:
    """Whether a trial's values are chosen; `tune.search` chooses them when the trial starts."""
    return config.tune.search is None or bool(spec.params)


def resolve_trial(config: ExperimentConfig, spec: TrialSpec) -> ExperimentConfig:
    """Returns the experiment of one trial: every search space replaced, validated again.

    The key of a space that the trial has not drawn from is left out.

    Raises:
        ConfigError: the values drawn do not go together; the message names the trial.
    """
    data = config.to_dict()
    for path in open_values(data):
        parent: Any = data
        for part in path[:-1]:
            parent = parent[part]
        if (key := ".".join(path)) in spec.params:
            parent[path[-1]] = spec.params[key]
        elif path != ("seed",):  # it depends on what this trial has not drawn
            del parent[path[-1]]
    data["seed"] = spec.seed
    data["tune"]["search"] = None  # has chosen
    if settings_of(config.tune.scheduler):
        data["tune"]["scheduler"] = None  # a member by itself has no spaces to mutate in
    return validate_config(data, source=spec.trial_id)


def draw(space: Mapping[str, Any], rng: np.random.Generator) -> Any:
    """Returns a value of a valid search space other than a grid, at random."""
    kind, options = kind_and_options(space)
    if kind == "choice":
        return options[int(rng.integers(len(options)))]
    low, high = options
    if kind == "randint":
        return int(rng.integers(low, high))
    if kind == "uniform":
        return float(rng.uniform(low, high))
    drawn = math.exp(rng.uniform(math.log(low), math.log(high)))
    return min(max(drawn, float(low)), float(high))  # exp(log(x)) may miss x by a rounding
