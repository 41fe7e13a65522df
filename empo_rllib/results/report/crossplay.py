"""`crossplay.json`: what policies of different runs earn with each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, FiniteFloat, ValidationError, model_validator

from empo_rllib.errors import ConfigError
from empo_rllib.results.report.problems import first_problem

HOW_TO_MAKE = "python -m empo_rllib crossplay RUN RUN --out crossplay.json"

_Row = list[FiniteFloat]
_Rate = Annotated[float, Field(ge=0, le=1)] | None


class StoredProtocol(BaseModel):
    """How it was played."""

    episodes: int
    seed: int
    greedy: bool
    settings: list[str] = []


class StoredPlayer(BaseModel):
    """Whose policies these are."""

    name: str
    run: str
    trial: str
    checkpoint: str


class CrossPlay(BaseModel):
    """The content of a cross-play file; row i, column j: player i with partner j."""

    format: Literal[1]
    env: dict[str, Any]
    protocol: StoredProtocol
    players: Annotated[list[StoredPlayer], Field(min_length=1)]
    returns: list[_Row]
    intervals_95: list[list[tuple[FiniteFloat | None, FiniteFloat | None]]]
    success_rates: list[list[_Rate]]
    self_play: _Row
    drop: _Row
    random_partner: _Row
    random_partner_drop: _Row

    @model_validator(mode="after")
    def _check_sizes(self) -> CrossPlay:
        size = len(self.players)
        lists = ("self_play", "drop", "random_partner", "random_partner_drop")
        matrices = ("returns", "intervals_95", "success_rates")
        for key in lists:
            if len(getattr(self, key)) != size:
                raise ValueError(f"{key} must have an entry for each of {size} players")
        for key in matrices:
            matrix = getattr(self, key)
            if len(matrix) != size or any(len(row) != size for row in matrix):
                raise ValueError(f"{key} must have {size} rows of {size}, one for each player")
        return self


def read_crossplay(path: Path) -> CrossPlay:
    """Reads a cross-play file.

    Raises:
        ConfigError: it is missing or is none.
    """
    try:
        return CrossPlay.model_validate_json(path.expanduser().read_bytes())
    except FileNotFoundError:
        raise ConfigError(
            f"--crossplay {path}: there is no such file. Make it with: {HOW_TO_MAKE}"
        ) from None
    except OSError as error:
        raise ConfigError(f"--crossplay {path}: cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        raise ConfigError(
            f"--crossplay {path}: not a cross-play file of format 1: {first_problem(error)}. "
            f"Make it with: {HOW_TO_MAKE}"
        ) from None
