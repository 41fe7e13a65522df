"""Search spaces: values of the experiment file that each trial draws for itself.

A value may be open in `seed`, `algorithm.name`, `algorithm.params`, `model` and `env.kwargs`:

    {grid_search: [..]}     every option, in combination with every other grid
    {choice: [..]}          one of the options, at random
    {uniform: [a, b]}       a number in [a, b)
    {loguniform: [a, b]}    a number in [a, b) whose logarithm is uniform
    {randint: [a, b]}       an integer in [a, b)

A second key makes a space conditional: `{uniform: [a, b], when: {KEY: OPTION}}` is drawn only in
trials that have drawn that option of another space; elsewhere the key is left out of the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import core_schema

from empo_rllib.config.problems import Problem, broken_rule, raise_problems
from empo_rllib.errors import nearest

SEARCH_KINDS = ("grid_search", "choice", "uniform", "loguniform", "randint")
WHEN = "when"
SEARCHABLE = (
    ("seed",),
    ("env", "kwargs"),
    ("algorithm", "name"),
    ("algorithm", "params"),
    ("model",),
)
_IN_EVERY_TRIAL = (("seed",), ("algorithm", "name"))
NEEDS_INTEGERS = " draws fractions, which do not fit here: use randint or choice."

Path = tuple[str, ...]
Spaces = Mapping[Path, Mapping[str, Any]]

# Floats from here on are no longer every integer.
_EXACT = 2.0**53
_BOUNDS = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_OPTIONS = {"type": "array", "minItems": 1}

SEARCH_SPACE_SCHEMA: dict[str, Any] = {
    "title": "SearchSpace",
    "description": "A value that each trial draws for itself.",
    "type": "object",
    "oneOf": [{"required": [kind]} for kind in SEARCH_KINDS],
    "additionalProperties": False,
    "properties": {
        "grid_search": {**_OPTIONS, "description": "every option, in combination with all grids"},
        "choice": {**_OPTIONS, "description": "one of the options, at random"},
        "uniform": {**_BOUNDS, "description": "a number between low and high"},
        "loguniform": {**_BOUNDS, "description": "a number whose logarithm is uniform"},
        "randint": {
            **_BOUNDS,
            "items": {"type": "integer"},
            "description": "an integer from low to high, high excluded",
        },
        WHEN: {
            "type": "object",
            "minProperties": 1,
            "description": "beside another than grid_search: the options, by dotted key, that "
            "trials with this value have drawn of other spaces",
        },
    },
}


def is_search_space(value: Any) -> bool:
    """Whether `value` has the form of a search space; its options may still be wrong."""
    kinds = value.keys() - {WHEN} if isinstance(value, Mapping) else ()
    return len(kinds) == 1 and next(iter(kinds)) in SEARCH_KINDS


def kind_and_options(space: Mapping[str, Any]) -> tuple[str, Any]:
    """Returns the kind of a search space, one of `SEARCH_KINDS`, and what stands after it."""
    return next((kind, options) for kind, options in space.items() if kind != WHEN)


def conditions_of(space: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the options that trials with this value have drawn, by dotted key; often none."""
    conditions = space.get(WHEN)
    return conditions if isinstance(conditions, Mapping) else {}  # wrong ones are told elsewhere


def is_open_in(space: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    """Whether a trial draws a value of a search space.

    Args:
        space: the space.
        params: by dotted key what the trial has drawn of the spaces that it depends on.
    """
    return all(
        key in params and params[key] == option for key, option in conditions_of(space).items()
    )


def is_number(value: Any) -> bool:
    """Whether `value` is a finite integer or float; true and false are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def integral(value: Any) -> Any:
    """Returns `2.0e+5` as the integer it is; anything else, also `1e100`, as it came."""
    is_integer = isinstance(value, float) and value.is_integer() and abs(value) < _EXACT
    return int(value) if is_integer else value


def search_space_problem(space: Mapping[str, Any]) -> str | None:
    """Returns the rule that a search space breaks (` needs ..`), or None."""
    kind, options = kind_and_options(space)
    if WHEN in space:
        if kind == "grid_search":
            return f" is a grid, which cannot have {WHEN}: make it choice."
        if not isinstance(space[WHEN], Mapping) or not space[WHEN]:
            return f" needs {{dotted key: option}} after {WHEN}."
    if kind in ("grid_search", "choice"):
        if not isinstance(options, list) or not options:
            return f" needs a list of at least one option after {kind}."
        nested = any(True for option in options for _ in find_search_spaces(option))
        rule = f" holds another search space; only one can stand in a place. See {WHEN}."
        return rule if nested else None
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
    kind, options = kind_and_options(space)
    if kind == "randint":
        return [options[0], options[1] - 1]
    return [float(bound) for bound in options] if kind.endswith("uniform") else list(options)


def options_of(value: Any) -> list[Any]:
    """Returns all values that a trial may have, or the extremes of a range."""
    return candidates(value) if is_search_space(value) else [value]


def between(space: Mapping[str, Any]) -> list[float]:
    """Returns a fraction that a space of numbers may draw; nothing for other spaces."""
    kind, options = kind_and_options(space)
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


def in_drawing_order(spaces: Spaces) -> dict[Path, Mapping[str, Any]]:
    """Returns search spaces so that those which one depends on come before it.

    Where none depends on another that is the order of appearance. Those in a circle are left out.
    """
    ordered: dict[Path, Mapping[str, Any]] = {}
    left = dict(spaces)
    while ready := [path for path, space in left.items() if _can_be_drawn(space, ordered)]:
        ordered |= {path: left.pop(path) for path in ready}
    return ordered


def condition_problems(spaces: Spaces) -> list[Problem]:
    """Returns what is wrong with the conditions of spaces that are right by themselves."""
    by_key = {".".join(path): space for path, space in spaces.items() if path != ("seed",)}
    problems = []
    for path, space in spaces.items():
        for key, option in conditions_of(space).items():
            rule = _condition_problem(key, option, by_key)
            if path in _IN_EVERY_TRIAL:
                rule = " cannot stand here: every trial has a value of this key."
            if rule:
                problems.append(Problem((*path, WHEN, key), option, rule))
    circle = spaces.keys() - in_drawing_order(spaces).keys() if not problems else ()
    rule = " depends on itself, through what these keys depend on."
    return problems + [
        Problem((*path, WHEN), dict(conditions_of(spaces[path])), rule)
        for path in spaces
        if path in circle
    ]


def _condition_problem(
    key: str, option: Any, spaces: Mapping[str, Mapping[str, Any]]
) -> str | None:
    if key not in spaces:
        return f" names a key without a search space.{nearest(key, spaces)}"
    kind, options = kind_and_options(spaces[key])
    if kind not in ("choice", "grid_search"):
        return f" names a key without options: {key} is {kind}. Make it choice."
    return None if option in options else f" is not among the options {options} of {key}."


def _can_be_drawn(space: Mapping[str, Any], drawn: Spaces) -> bool:
    return conditions_of(space).keys() <= {".".join(path) for path in drawn}


def leaves(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every innermost value with its dotted key; a search space counts as one value."""
    for key, value in data.items():
        if isinstance(value, dict) and value and not is_search_space(value):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


class Searchable:
    """Marks an annotated field as one whose value may be a search space.

    Every option of the space is checked like a plain value. The field keeps the mapping as it is
    until `resolve_trial` puts a value in its place.
    """

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Wraps the field's own validation."""
        return core_schema.no_info_wrap_validator_function(_validate, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Adds the search space as an alternative."""
        return {"anyOf": [handler(schema), SEARCH_SPACE_SCHEMA]}


def check_open_mapping(value: Mapping[str, Any]) -> None:
    """Checks the search spaces at any depth of a mapping with free keys.

    Raises:
        ValidationError: one entry per space that is not well formed.
    """
    rules = (
        (path, space, search_space_problem(space)) for path, space in find_search_spaces(value)
    )
    raise_problems([Problem(path, space, rule) for path, space, rule in rules if rule])


def _validate(value: Any, handler: core_schema.ValidatorFunctionWrapHandler) -> Any:
    if is_search_space(value):
        rule = search_space_problem(value)
        if rule:
            raise broken_rule(rule)
        for option in candidates(value):
            handler(option)
        _check_fractions(value, handler)
        return value
    if isinstance(value, Mapping):
        key = str(next(iter(value), ""))
        raise broken_rule(
            f" is not a search space, which has one key of {', '.join(SEARCH_KINDS)}, and {WHEN}."
            f"{nearest('grid_search' if key == 'grid' else key, SEARCH_KINDS)}"
        )
    return handler(value)


def _check_fractions(
    space: Mapping[str, Any], handler: core_schema.ValidatorFunctionWrapHandler
) -> None:
    """Refuses `uniform` where both bounds are integers that fit but what is drawn would not."""
    for fraction in between(space):
        try:
            handler(fraction)
        except ValidationError:
            raise broken_rule(NEEDS_INTEGERS) from None


def _is_int64(value: Any) -> bool:
    return is_number(value) and isinstance(value, int) and abs(value) < 2**63
