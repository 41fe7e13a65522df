"""Search spaces: from an experiment with open values to one closed experiment per trial.

A value may be open in `seed`, `algorithm.params`, `model` and `env.kwargs`:

    {grid_search: [..]}     every option, in combination with every other grid
    {choice: [..]}          one of the options, at random
    {uniform: [a, b]}       a number in [a, b)
    {loguniform: [a, b]}    a number in [a, b) whose logarithm is uniform
    {randint: [a, b]}       an integer in [a, b)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from empo_rllib.config.schema import ExperimentConfig

SEARCH_KINDS = ("grid_search", "choice", "uniform", "loguniform", "randint")
SEARCHABLE = (("seed",), ("env", "kwargs"), ("algorithm", "params"), ("model",))

Path = tuple[str, ...]


@dataclass(frozen=True)
class TrialSpec:
    """One trial of an experiment.

    Attributes:
        trial_id: `trial_00000` and so on, in the order in which they start.
        seed: the trial's own seed.
        params: the value drawn for each search space other than the seed, by dotted key.
    """

    trial_id: str
    seed: int
    params: dict[str, Any] = field(default_factory=dict)


NEEDS_INTEGERS = " draws fractions, which do not fit here: use randint or choice."


def is_search_space(value: Any) -> bool:
    """Whether `value` has the form of a search space; its options may still be wrong."""
    return isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in SEARCH_KINDS


def is_number(value: Any) -> bool:
    """Whether `value` is a finite integer or float; true and false are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def search_space_problem(space: Mapping[str, Any]) -> str | None:
    """Returns the rule that a search space breaks (` needs ..`), or None."""
    ((kind, options),) = space.items()
    if kind in ("grid_search", "choice"):
        if not isinstance(options, list) or not options:
            return f" needs a list of at least one option after {kind}."
        nested = any(True for option in options for _ in find_search_spaces(option))
        return " holds another search space; only one can stand in a place." if nested else None
    fits = _is_int64 if kind == "randint" else is_number
    if not (isinstance(options, list) and len(options) == 2 and all(map(fits, options))):
        noun = "integers" if kind == "randint" else "numbers"
        return f" needs two {noun} [low, high] after {kind}."
    low, high = options
    if low >= high:
        return f" needs low < high after {kind}."
    if kind == "loguniform" and low <= 0:
        return " needs bounds above 0 after loguniform."
    return None


def candidates(space: Mapping[str, Any]) -> list[Any]:
    """Returns the options of a valid search space, or its extremes where it has no options."""
    ((kind, options),) = space.items()
    if kind == "randint":
        return [options[0], options[1] - 1]
    return [float(bound) for bound in options] if kind.endswith("uniform") else list(options)


def between(space: Mapping[str, Any]) -> list[float]:
    """Returns a fraction that a space of numbers may draw; nothing for other spaces."""
    ((kind, options),) = space.items()
    if not kind.endswith("uniform"):
        return []
    low, high = options
    return [low + 0.6180339887 * (high - low)]


def find_search_spaces(tree: Any, path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yields every search space in nested mappings with its path, in order of appearance."""
    if is_search_space(tree):
        yield path, tree
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from find_search_spaces(value, (*path, str(key)))


def open_values(data: Mapping[str, Any]) -> dict[Path, dict[str, Any]]:
    """Returns the search spaces of an experiment's data (`ExperimentConfig.to_dict`) by path."""
    found: dict[Path, dict[str, Any]] = {}
    for root in SEARCHABLE:
        tree: Any = data
        for key in root:
            tree = tree[key]
        found.update(find_search_spaces(tree, root))
    return found


def sample_trials(config: ExperimentConfig) -> list[TrialSpec]:
    """Returns the trials of an experiment; the same experiment always gives the same ones.

    The grid is the product of all `grid_search` values and is run `tune.num_samples` times. Random
    values are drawn anew for each trial by a generator seeded with `seed` (0 where that is itself
    searched). Round `k` of a fixed `seed` runs with `seed + k`; a searched seed is taken as it is.

    Args:
        config: the experiment, with search spaces or without.

    Returns:
        At least one trial, in starting order.
    """
    spaces = open_values(config.to_dict())
    grids = {path: space["grid_search"] for path, space in spaces.items() if "grid_search" in space}
    fixed_seed = None if ("seed",) in spaces else config.seed
    rng = np.random.default_rng(fixed_seed or 0)
    trials: list[TrialSpec] = []
    for round_ in range(config.tune.num_samples):
        for combination in itertools.product(*grids.values()):
            chosen = dict(zip(grids, combination, strict=True))
            values = {
                path: chosen[path] if path in chosen else _draw(space, rng)
                for path, space in spaces.items()
            }
            seed = values.pop(("seed",)) if fixed_seed is None else fixed_seed + round_
            params = {".".join(path): value for path, value in values.items()}
            trials.append(TrialSpec(f"trial_{len(trials):05d}", seed, params))
    return trials


def resolve_trial(config: ExperimentConfig, spec: TrialSpec) -> ExperimentConfig:
    """Returns the experiment of one trial: every search space replaced, validated again.

    Raises:
        ConfigError: the values drawn do not go together; the message names the trial.
    """
    from empo_rllib.config.load import validate_config

    data = config.to_dict()
    for path in open_values(data):
        parent: Any = data
        for key in path[:-1]:
            parent = parent[key]
        if path != ("seed",):
            parent[path[-1]] = spec.params[".".join(path)]
    data["seed"] = spec.seed
    return validate_config(data, source=spec.trial_id)


def _is_int64(value: Any) -> bool:
    return is_number(value) and isinstance(value, int) and abs(value) < 2**63


def _draw(space: Mapping[str, Any], rng: np.random.Generator) -> Any:
    ((kind, options),) = space.items()
    if kind == "choice":
        return options[int(rng.integers(len(options)))]
    low, high = options
    if kind == "randint":
        return int(rng.integers(low, high))
    if kind == "uniform":
        return float(rng.uniform(low, high))
    drawn = math.exp(rng.uniform(math.log(low), math.log(high)))
    return min(max(drawn, float(low)), float(high))  # exp(log(x)) may miss x by a rounding
