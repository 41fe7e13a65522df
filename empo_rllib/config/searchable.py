"""The pydantic side of search spaces: fields whose value may still be open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

from empo_rllib.config.params import Problem
from empo_rllib.config.search_space import (
    NEEDS_INTEGERS,
    SEARCH_KINDS,
    between,
    candidates,
    find_search_spaces,
    is_search_space,
    search_space_problem,
)
from empo_rllib.errors import nearest

_BOUNDS = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_OPTIONS = {"type": "array", "minItems": 1}

SEARCH_SPACE_SCHEMA: dict[str, Any] = {
    "title": "SearchSpace",
    "description": "A value that each trial draws for itself.",
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
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
    },
}


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


def broken_rule(rule: str) -> PydanticCustomError:
    """Returns the error for a validator to raise; `rule` completes `<path> = <value>`."""
    return PydanticCustomError("rule", "{rule}", {"rule": rule})


def raise_problems(problems: list[Problem]) -> None:
    """Raises all problems as one error of the field being validated; nothing when there are none.

    Raises:
        ValidationError: with one entry per problem, located below the field.
    """
    if problems:
        details = [
            InitErrorDetails(type=broken_rule(problem.rule), loc=problem.path, input=problem.value)
            for problem in problems
        ]
        raise ValidationError.from_exception_data("experiment", details)


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
            f" is not a search space, which has one key of {', '.join(SEARCH_KINDS)}."
            f"{nearest(key, SEARCH_KINDS)}"
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
