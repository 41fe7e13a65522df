"""The types that the fields of the experiment file are made of."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from empo_rllib.config.problems import broken_rule
from empo_rllib.config.search_space import integral

PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_CLASS_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


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


Positive = Annotated[int, Field(ge=1), BeforeValidator(integral)]
Count = Annotated[int, Field(ge=0), BeforeValidator(integral)]
Seed = Annotated[int, Field(ge=0, lt=2**32), BeforeValidator(integral)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[Number, Field(gt=0)]
Text = Annotated[str, Field(min_length=1)]
PlainName = Annotated[str, BeforeValidator(plain_name)]
ClassPath = Annotated[str, BeforeValidator(class_path)]


class Section(BaseModel):
    """Refuses unknown keys and converts nothing: `"3"` is not 3 and `true` is not 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)
