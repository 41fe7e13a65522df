"""Broken rules of the experiment file, and how validators raise them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError


@dataclass(frozen=True)
class Problem:
    """A value that breaks a rule; `rule` completes the sentence `<path> = <value>`."""

    path: tuple[str, ...]
    value: Any
    rule: str


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
