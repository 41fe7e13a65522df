"""Puts the measured results into docs/benchmarks.md and draws the learning curves.

    python -m benchmarks.report

Each table goes between two comments, `<!-- throughput:empty-8x8 -->` and `<!-- end -->`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import throughput, time_to_return
from benchmarks.curves import checkpoints, curve, mean_interval
from benchmarks.figure import Panel, draw_curves
from benchmarks.machine import render_machine
from benchmarks.scenarios import load_scenarios
from benchmarks.studies import Study, curve_studies, time_study
from benchmarks.summary import bars_table, setups_table
from benchmarks.time_to_return import (
    Runs,
    comparison,
    load_runs,
    sameness_table,
    shortest,
    times_table,
)

DOCUMENT = Path("docs/benchmarks.md")
FIGURE = Path("docs/results/benchmark_curves.png")
SEEDS = 5
_POINTS = 100


def main() -> None:
    """Fills the page and draws the figure from what has been measured so far."""
    text = DOCUMENT.read_text()
    for name, block in blocks():
        text = fill(text, name, block)
    DOCUMENT.write_text(text)
    panels = [panel(study, runs) for study, runs in _compared_studies()]
    if panels:
        draw_curves(panels, FIGURE)


def fill(text: str, name: str, block: str) -> str:
    """Returns the document with the block called `name` replaced.

    Raises:
        ValueError: the document has no such block.
    """
    pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    filled, number = pattern.subn(lambda match: f"{match[1]}{block}\n{match[2]}", text)
    if number != 1:
        raise ValueError(f"docs/benchmarks.md holds {number} blocks named {name!r}, not one")
    return filled


def blocks() -> Iterator[tuple[str, str]]:
    """Yields name and Markdown of everything that has been measured."""
    for name, scenario in load_scenarios().items():
        path = throughput.RESULTS / f"{name}.json"
        if path.exists():
            report = json.loads(path.read_text())
            measurements = report["measurements"]
            scenario = replace(scenario, window=tuple(report["window"]))
            tables = (bars_table(scenario, measurements), setups_table(scenario, measurements))
            machine = render_machine(report["machine"])
            yield f"throughput:{name}", "\n\n".join([*(t.to_markdown() for t in tables), machine])
    study = time_study()
    folder = time_to_return.RESULTS / "empty-8x8"
    if folder.exists():
        table = times_table(study, load_runs(study, folder, SEEDS))
        yield "time-to-return", table.to_markdown()
    comparisons = {study.title: comparison(study, runs) for study, runs in _compared_studies()}
    if comparisons:
        picture = f"![Returns against env steps]({FIGURE.relative_to(DOCUMENT.parent)})"
        yield "curves", f"{picture}\n\n{sameness_table(comparisons).to_markdown()}"


def panel(study: Study, runs: Runs) -> Panel:
    """Returns mean and interval over the seeds of each set-up."""
    env_steps = checkpoints(shortest(runs), _POINTS)
    lines = {
        setup: mean_interval(np.array([curve(rows, env_steps) for rows in seeds]))
        for setup, seeds in runs.items()
    }
    return Panel(study.title, env_steps, lines)


def _compared_studies() -> Iterator[tuple[Study, Runs]]:
    for name, study in curve_studies(None).items():
        runs = load_runs(study, time_to_return.RESULTS / name, SEEDS)
        if all(len(seeds) > 1 for seeds in runs.values()):
            yield study, runs


if __name__ == "__main__":
    main()
