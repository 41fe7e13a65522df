"""The types that the fields of the experiment file are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from empo_rllib.config import checks

Positive = Annotated[int, Field(ge=1), BeforeValidator(checks.integral)]
Count = Annotated[int, Field(ge=0), BeforeValidator(checks.integral)]
Seed = Annotated[int, Field(ge=0, lt=2**32), BeforeValidator(checks.integral)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[Number, Field(gt=0)]
Text = Annotated[str, Field(min_length=1)]
PlainName = Annotated[str, BeforeValidator(checks.plain_name)]
ClassPath = Annotated[str, BeforeValidator(checks.class_path)]


class Section(BaseModel):
    """Refuses unknown keys and converts nothing: `"3"` is not 3 and `true` is not 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)
