"""Section: where agents of a grid spend their time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from empo_rllib.results.report.charts.heat import draw_grid, visit_level
from empo_rllib.results.report.numbers import plural
from empo_rllib.results.report.parts import (
    Cell,
    Chart,
    Charts,
    Paragraph,
    Part,
    ReportSection,
    Table,
    View,
)
from empo_rllib.results.report.play import Grid, PlayedTrials, Trace, Watched
from empo_rllib.results.report.sections.evaluation import why_not_played

# Of all maps of a run together: each is an element of the page.
_MAX_CELLS = 8000


def build_visits(played: PlayedTrials) -> ReportSection:
    """Returns a heat map per agent of each run whose environment is a grid."""
    title = "Visits"
    if not played.watched:
        return ReportSection("visits", title, [Paragraph(why_not_played(played))])
    parts: list[Part] = []
    for watched in played.watched:
        name = watched.run.label
        if watched.grid is None:
            env = watched.trained.config.env.id
            text = f"{name}: {env} is no MultiGrid with one size of grid, so there are no cells."
            parts.append(Paragraph(text))
        else:
            charts = Charts(_charts(watched, watched.grid), "small")
            parts += [Paragraph(_explain(watched, watched.grid)), charts]
    return ReportSection("visits", title, parts)


def count_visits(traces: Sequence[Trace], agent: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns in how many steps of all episodes an agent was in each cell, starts included.

    Returns:
        int, shape (width, height).
    """
    visits = np.zeros(shape, dtype=np.int64)
    for trace in traces:
        for places in trace.places:
            if agent in places:
                visits[places[agent]] += 1
    return visits


def _num_shown(grid: Grid) -> int:
    return max(1, _MAX_CELLS // grid.walls.size)


def _explain(watched: Watched, grid: Grid) -> str:
    text = (
        f"{watched.run.label}: the share of its steps that each agent spent in each cell, over "
        f"{plural(len(watched.episodes), 'episode')} with sampled actions (DQN: greedy ones), "
        "until it left. Grey cells are walls in every episode, rings goals."
    )
    if len(watched.agents) > _num_shown(grid):
        text += f" Shown are the first {_num_shown(grid)} of {len(watched.agents)} agents."
    return text


def _charts(watched: Watched, grid: Grid) -> list[Chart]:
    charts = []
    for number, agent in enumerate(watched.agents[: _num_shown(grid)]):
        visits = count_visits(watched.traces, agent, grid.walls.shape)
        shares = visits / max(1, int(visits.sum()))
        title = f"{watched.run.label}: {agent}"
        svg = draw_grid(title, shares, grid.walls, grid.goals, number)
        charts.append(Chart(title, [View(svg, _table(agent, shares))]))
    return charts


def _table(agent: str, shares: np.ndarray) -> Table:
    width, height = shares.shape
    most = float(shares.max())
    rows = []
    for j in range(height):
        values = [float(shares[i, j]) for i in range(width)]
        cells = [Cell(f"{value:.1%}", value, visit_level(value, most)) for value in values]
        rows.append([Cell(f"row {j}"), *cells])
    columns = ["", *(f"column {i}" for i in range(width))]
    return Table(f"Share of {agent}'s steps in each cell", columns, rows, sortable=False)
