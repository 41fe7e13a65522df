"""Measurements to figures, ratios and tables: plain functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.scenarios import Bar, Scenario

Measurement = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A table for the terminal and for the docs; the first column is text, the others numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def to_rich(self) -> RichTable:
        """Returns it for a terminal."""
        table = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for number, title in enumerate(self.header):
            table.add_column(title, justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*row)
        return table

    def to_markdown(self) -> str:
        """Returns it for a Markdown file."""
        rule = ("---", *["---:"] * (len(self.header) - 1))
        return "\n".join(f"| {' | '.join(row)} |" for row in (self.header, rule, *self.rows))


def figures(measurement: Measurement, window: tuple[int, int]) -> dict[str, float]:
    """Returns the medians of one measurement over the training iterations of `window`.

    `<what>_per_s` is end to end, `<what>_per_cpu_s` by the processor time of the training process;
    `converged_env_steps` are those of the iterations after the stop. `sample_s`, `learn_s` and
    `cpu_s` are per training iteration.
    """
    first, last = window
    all_rows = measurement["rows"]
    rows = all_rows[first - 1 : last]
    converged = [row for row in all_rows if row.get("after_stop")]
    found = {
        f"{what}_per_{unit}": _median(row[key] / row[seconds] for row in some if key in row)
        for what, some, key in (
            ("env_steps", rows, "new_env_steps"),
            ("agent_steps", rows, "new_agent_steps"),
            ("converged_env_steps", converged, "new_env_steps"),
        )
        for unit, seconds in (("s", "seconds"), ("cpu_s", "cpu_s"))
    }
    for key in ("sample_s", "learn_s", "cpu_s", "distinct_observations"):
        found[key] = _median(row[key] for row in rows if key in row)
    memory = {key: measurement[key] for key in ("memory_mb", "process_memory_mb")}
    return {key: value for key, value in found.items() if value is not None} | memory


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return median(found) if found else None


def bar_values(bar: Bar, repeats: Sequence[Mapping[str, Mapping[str, float]]]) -> list[float]:
    """Returns the bar's figure or ratio in each repeat that has what it needs.

    Args:
        bar: what to compare.
        repeats: of each repeat the figures by set-up.
    """
    values = []
    for repeat in repeats:
        numbers = [
            repeat.get(setup, {}).get(name)
            for setup, name in filter(None, (bar.figure, bar.against))
        ]
        found = [number for number in numbers if number is not None]
        if len(found) == len(numbers):
            values.append(found[0] / found[1] if bar.against else found[0])
    return values


def group_repeats(
    measurements: Sequence[Measurement], window: tuple[int, int]
) -> list[dict[str, dict[str, float]]]:
    """Returns of each repeat the figures by set-up."""
    numbers = sorted({m["repeat"] for m in measurements})
    return [
        {m["setup"]: figures(m, window) for m in measurements if m["repeat"] == number}
        for number in numbers
    ]


def setups_table(scenario: Scenario, measurements: Sequence[Measurement]) -> Table:
    """Returns one row per set-up: medians over the repeats."""
    repeats = group_repeats(measurements, scenario.window)
    columns = {
        "env_steps_per_s": ("env steps/s", ",.0f"),
        "agent_steps_per_s": ("agent steps/s", ",.0f"),
        "converged_env_steps_per_s": ("converged", ",.0f"),
        "sample_s": ("sample, s", ".3f"),
        "learn_s": ("learn, s", ".3f"),
        "cpu_s": ("CPU, s", ".3f"),
        "distinct_observations": ("distinct", ".0%"),
        "memory_mb": ("MB", ",.0f"),
        "process_memory_mb": ("MB, training", ",.0f"),
    }
    rows = {
        setup: {
            key: _median(r[setup][key] for r in repeats if setup in r and key in r[setup])
            for key in columns
        }
        for setup in scenario.tasks
    }
    shown = [key for key in columns if any(row[key] is not None for row in rows.values())]
    return Table(
        ("set-up", *(columns[key][0] for key in shown)),
        tuple(
            (setup, *(_text(row[key], columns[key][1]) for key in shown))
            for setup, row in rows.items()
            if row["memory_mb"] is not None
        ),
    )


def bars_table(scenario: Scenario, measurements: Sequence[Measurement]) -> Table:
    """Returns one row per bar: the median over the repeats beside what it must be."""
    repeats = group_repeats(measurements, scenario.window)
    rows = []
    for bar in scenario.bars:
        values = bar_values(bar, repeats)
        is_rate = bar.figure[1].endswith("_per_s")
        by_cpu = bar_values(_by_cpu_time(bar), repeats) if is_rate else []
        unit, form = ("x", ".2f") if bar.against else ("", ",.0f")
        if not values:
            continue
        middle = median(values)
        rows.append(
            (
                bar.text,
                _limit(bar),
                f"{middle:{form}}{unit}",
                f"{min(values):{form}} – {max(values):{form}}",
                verdict(bar, middle),
                f"{median(by_cpu):{form}}{unit}" if by_cpu else "",
            )
        )
    header = ("what", "bar", "measured", "over the repeats", "met", "by CPU time")
    return Table(header, tuple(rows))


def _by_cpu_time(bar: Bar) -> Bar:
    """Returns the bar on rates with the same rates by processor time."""

    def renamed(part: tuple[str, str]) -> tuple[str, str]:
        return part[0], part[1].replace("_per_s", "_per_cpu_s")

    against = renamed(bar.against) if bar.against else None
    return replace(bar, figure=renamed(bar.figure), against=against)


def verdict(bar: Bar, value: float) -> str:
    """Returns "yes", "yes, and the aim" or "no"."""
    if bar.at_least is not None and value < bar.at_least:
        return "no"
    if bar.at_most is not None and value > bar.at_most:
        return "no"
    return "yes, and the aim" if bar.aim is not None and value >= bar.aim else "yes"


def _limit(bar: Bar) -> str:
    unit = "x" if bar.against else ""
    sign, limit = ("≥", bar.at_least) if bar.at_least is not None else ("≤", bar.at_most)
    aim = "" if bar.aim is None else f", aim {bar.aim:,g}{unit}"
    return f"{sign} {limit:,g}{unit}{aim}"


def _text(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def wide_console() -> Console:
    """Returns a console that does not fold tables when its output goes to a file."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=160)
