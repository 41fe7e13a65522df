"""Section: who copied whom in a population, and with which values each member continued."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from empo_rllib.experiment.population import Change, lineage
from empo_rllib.results.labels import short_names
from empo_rllib.results.report.charts.lineage import Branch, draw_lineage
from empo_rllib.results.report.numbers import count, plural, setting
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
from empo_rllib.results.report.runs import ReportedRun

_TITLE = "Population"
_Schedules = Mapping[str, Sequence[Change]]


def build_population(runs: Sequence[ReportedRun]) -> ReportSection:
    """Returns the lineage of each run whose trials have schedules."""
    parts = [part for run in runs for part in _of_run(run)]
    nothing = "No run is a population (tune.scheduler: pbt or pb2), or follows one's schedule."
    return ReportSection("population", _TITLE, parts or [Paragraph(nothing)])


def _of_run(run: ReportedRun) -> list[Part]:
    schedules = {trial.id: trial.summary.schedule for trial in run.trials if trial.summary.schedule}
    if not schedules:
        return []
    best = run.result.best_trial if run.result.best_trial in schedules else next(iter(schedules))
    ancestors = lineage(schedules, best)
    copies = sum(change.copied_from is not None for own in schedules.values() for change in own)
    text = (
        f"{run.label}: {plural(len(schedules), 'trial')} with a schedule. Number of copies: "
        f"{copies}. A line that crosses over to another member's place is a copy of weights. "
        f"Thick: what led to {best}. It began in {ancestors[0][0]}. Elsewhere in this report the "
        "settings of these trials are those at the start."
    )
    title = f"{run.label}: lineage"
    view = View(_draw(title, run, schedules, ancestors), _table(run.label, schedules))
    return [Paragraph(text), Charts([Chart(title, [view])], "beside")]


def _draw(
    title: str,
    run: ReportedRun,
    schedules: _Schedules,
    ancestors: Sequence[tuple[str, Change]],
) -> Markup:
    names = list(schedules)
    ends = {trial.id: trial.summary.env_steps for trial in run.trials}
    branches = [
        branch
        for name, own in schedules.items()
        for branch in _branches(names, [(name, change) for change in own], ends[name])
    ]
    last = ancestors[-1][0]
    return draw_lineage(title, names, branches, _branches(names, ancestors, ends[last]))


def _branches(
    names: Sequence[str], changes: Sequence[tuple[str, Change]], end: int
) -> list[Branch]:
    """Returns what follows each change until the next, the last one until `end`."""
    starts = [change.env_steps for _, change in changes]
    return [
        Branch(
            names.index(name),
            names.index(change.copied_from or name),
            float(start),
            float(max(start, stop)),
        )
        for (name, change), (start, stop) in zip(
            changes, itertools.pairwise([*starts, end]), strict=True
        )
    ]


def _table(label: str, schedules: _Schedules) -> Table:
    keys = list(
        dict.fromkeys(key for own in schedules.values() for one in own for key in one.params)
    )
    names = short_names(keys)
    rows = [
        [
            Cell(name),
            count(change.round),
            count(change.env_steps),
            Cell(change.copied_from or "–"),
            *(setting(change.params.get(key)) for key in keys),
        ]
        for name, own in schedules.items()
        for change in own
    ]
    columns = ["trial", "round", "from env steps", "copied", *(names[key] for key in keys)]
    return Table(f"{label}: values of each trial, and whom it copied", columns, rows)
