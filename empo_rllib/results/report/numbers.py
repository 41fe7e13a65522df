"""Numbers as people read them, beside their exact value."""

from __future__ import annotations

import math
from typing import Any

from empo_rllib.config.search_space import is_number
from empo_rllib.experiment.time_left import duration
from empo_rllib.results.labels import setting_text
from empo_rllib.results.report.parts import Cell
from empo_rllib.statistics import Estimate

NOTHING = "–"


def fixed(value: float | None, digits: int = 3) -> Cell:
    """Returns a number with so many decimals."""
    return _cell(value, lambda number: f"{number:,.{digits}f}")


def count(value: float | None) -> Cell:
    """Returns a whole number."""
    return _cell(value, lambda number: f"{number:,.0f}")


def percent(value: float | None) -> Cell:
    """Returns a share of one."""
    return _cell(value, lambda number: f"{number:.0%}")


def seconds(value: float | None) -> Cell:
    """Returns a duration."""
    return _cell(value, lambda number: f"{number:.1f} s" if number < 60 else duration(number))


def interval(ends: tuple[float, float] | None, digits: int = 3) -> Cell:
    """Returns an interval, which sorts by its lower end."""
    if ends is None:
        return Cell(NOTHING)
    return Cell(" to ".join(f"{end:,.{digits}f}" for end in ends), float(ends[0]))


def percent_interval(ends: tuple[float, float] | None) -> Cell:
    """Returns an interval of a share of one, which sorts by its lower end."""
    if ends is None:
        return Cell(NOTHING)
    return Cell(" to ".join(f"{end:.0%}" for end in ends), float(ends[0]))


def estimate_cells(estimate: Estimate, digits: int = 3) -> list[Cell]:
    """Returns mean, 95 % interval and interquartile mean."""
    return [
        fixed(estimate.mean, digits),
        interval(estimate.interval_95, digits),
        fixed(estimate.interquartile_mean, digits),
    ]


def setting(value: Any) -> Cell:
    """Returns a value of an experiment file."""
    return Cell(setting_text(value), float(value) if is_number(value) else None)


def plural(number: int, noun: str) -> str:
    """Returns `1 trial` or `12 trials`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def short(value: float) -> str:
    """Returns a number for an axis: `250`, `50k`, `1.5M`, `0.25`, `1e-05`."""
    size = abs(value)
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= limit:
            return f"{value / limit:.4g}{letter}"
    return f"{value:.4g}"


def _cell(value: float | None, render: Any) -> Cell:
    if value is None or not math.isfinite(value):
        return Cell(NOTHING)
    return Cell(render(value), float(value))
