"""Pydantic's errors as lines that name file, key, value, rule and nearest match."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.algorithms import OTHER_NAMES as OTHER_ALGORITHMS
from empo_rllib.config.param_limits import OTHER_NAMES as OTHER_KEYS
from empo_rllib.config.params import known_params
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.config.search_space import SEARCHABLE, is_search_space
from empo_rllib.config.tune_settings import SCHEDULERS
from empo_rllib.errors import nearest

Location = tuple[str | int, ...]

_UNIONS = ("policies", "scheduler")
_TAGS = ("word", "section", *(f"section {kind}" for kind in SCHEDULERS))

_MUST_BE = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "none_required": "null",
    "string_too_short": "a string that is not empty",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
}


def render_problems(
    error: ValidationError, data: Mapping[str, Any], source_of: Callable[[Location], str]
) -> str:
    """Returns one line per problem (a few have a second, indented line with the way out).

    Args:
        error: what validating `data` raised.
        data: the experiment as it was read.
        source_of: names the file or flag that a location comes from.
    """
    lines: dict[Location, str] = {}
    for details in error.errors(include_url=False):
        location = _keys_of(details["loc"])
        line = f"{source_of(location)}: {_sentence(location, details, data)}"
        lines.setdefault(location, line)
    return "\n".join(lines.values())


def _keys_of(location: Location) -> Location:
    """Drops what pydantic adds for members of a union (tags) and for keys."""
    return tuple(
        part
        for before, part in zip(("", *location), location, strict=False)
        if part != "[key]" and not (before in _UNIONS and part in _TAGS)
    )


def _sentence(location: Location, details: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    key = ".".join(map(str, location))
    if details["type"] == "missing":
        return f"{key} is missing: {_description(location)}."
    if details["type"] == "invalid_key" or details["loc"][-1] == "[key]":
        return f"{key} is a key that is not a string: put it in quotes."
    closed = _search_space_above(location, data)
    if closed is not None:
        key, value = closed
        return (
            f"{key} = {_shown(value)} must not be a search space: only seed, env.kwargs, "
            "algorithm.name, algorithm.params and model may be searched."
        )
    return f"{key} = {_shown(details['input'])}{_rule(location, details)}"


def _rule(location: Location, details: Mapping[str, Any]) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "rule":
        return str(context["rule"])
    if kind == "extra_forbidden":
        return f" is an unknown key.{_suggest_key(location) or _list_keys(location[:-1])}"
    if kind == "literal_error":
        options = context["expected"].replace("'", "")
        plain = options.replace(" or ", ", ").split(", ")
        suggestion = _suggest(str(details["input"]), plain)
        if location == ("algorithm", "name"):
            other = OTHER_ALGORITHMS.get(str(details["input"]).upper())
            suggestion = f" {other}" if other else suggestion
        return f" must be {'one of ' if len(plain) > 1 else ''}{options}.{suggestion}"
    if kind in ("model_type", "model_attributes_type"):
        return f" must be a section.{_list_keys(location)}"
    if kind in _MUST_BE:
        return f" must be {_MUST_BE[kind].format(**context)}."
    return f": {details['msg']}."


def _search_space_above(location: Location, data: Any) -> tuple[str, Any] | None:
    """Returns the closed key under which a search space stands, with the space."""
    if any(location[: len(root)] == root for root in SEARCHABLE):
        return None
    for depth, part in enumerate(location):
        data = data.get(part) if isinstance(data, Mapping) else None
        if is_search_space(data):
            return ".".join(map(str, location[: depth + 1])), data
    return None


def _shown(value: Any) -> str:
    """Returns a value as it would stand in the file, cut to a readable length."""
    if isinstance(value, BaseModel):
        value = value.model_dump(by_alias=True, warnings=False)
    if isinstance(value, str):
        text = repr(value)
    else:
        try:
            text = json.dumps(value)
        except (TypeError, ValueError):
            text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _suggest(name: str, candidates: list[str]) -> str:
    for candidate in candidates:
        if candidate.lower() == name.lower():
            return f" Did you mean {candidate!r}?"
    return nearest(name, candidates)


def _suggest_key(location: Location) -> str:
    """Suggests a key of the same section, or the place where a key of that name belongs."""
    name = str(location[-1])
    if name in OTHER_KEYS:
        return f" Did you mean {OTHER_KEYS[name]!r}?"
    here = _suggest(name, _keys_at(location[:-1]))
    if here:
        return here
    elsewhere = [key for key in _all_keys(ExperimentConfig) if key.split(".")[-1] == name]
    if not elsewhere and any(name in known_params(algorithm) for algorithm in ALGORITHMS):
        elsewhere = [f"algorithm.params.{name}"]
    return f" Did you mean {elsewhere[0]!r}?" if elsewhere else ""


def _list_keys(location: Location) -> str:
    return f" Its keys are {', '.join(_keys_at(location))}."


def _keys_at(location: Location) -> list[str]:
    model = _model_at(location)
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _model_at(location: Location) -> type[BaseModel] | None:
    """Returns the section at a location, below lists and mappings of sections too."""
    models: list[type[BaseModel]] = [ExperimentConfig]
    for part in location:
        fields = (f for one in models for n, f in one.model_fields.items() if part in (n, f.alias))
        if (field := next(fields, None)) is not None:
            models = list(_sections(field.annotation))
    return models[0] if models else None


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    for argument in typing.get_args(annotation):
        yield from _sections(argument)


def _all_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        yield key
        for section in _sections(field.annotation):
            yield from _all_keys(section, f"{key}.")


def _description(location: Location) -> str:
    model = _model_at(location[:-1])
    fields = model.model_fields if model else {}
    field = fields.get(str(location[-1]))
    return (field.description if field else None) or "it has no default"
