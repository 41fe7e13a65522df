"""Section: how fast, and where the time went."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from empo_rllib import columns
from empo_rllib.results.report.charts.bars import draw_shares
from empo_rllib.results.report.groups import trial_label
from empo_rllib.results.report.numbers import count, percent, seconds
from empo_rllib.results.report.parts import (
    Cell,
    Chart,
    Charts,
    Legend,
    Paragraph,
    Part,
    ReportSection,
    Table,
    View,
)
from empo_rllib.results.report.runs import ReportedRun, ReportedTrial

PARTS = ("sampling", "learning", "the rest")
_COLUMNS = (columns.SAMPLE_S, columns.LEARN_S)
_MAX_BARS = 24


@dataclass(frozen=True)
class TrainingTimes:
    """Where a trial's training time went.

    Attributes:
        total_s: all of it.
        first_s: the first iteration, which compiles and warms up.
        median_rate: env steps a second, the median over iterations.
        shares: of sampling, learning and the rest in the total; None for what was not measured,
            and instead of all three where nothing was.
    """

    total_s: float
    first_s: float
    median_rate: float | None
    shares: tuple[float | None, float | None, float] | None


def build_throughput(runs: Sequence[ReportedRun]) -> ReportSection:
    """Returns env steps a second and the split of the time, per trial."""
    title = "Throughput"
    trials = [(run, trial) for run in runs for trial in run.trials if trial.rows]
    if not trials:
        text = "No trial has finished a training iteration yet."
        return ReportSection("throughput", title, [Paragraph(text)])
    names = [trial_label(run, trial, len(runs) > 1) for run, trial in trials]
    times = [times_of(trial) for _, trial in trials]
    table = _table(names, trials, times)
    parts: list[Part] = [Paragraph(_EXPLANATION)]
    split = [(n, t.shares) for n, t in zip(names, times, strict=True) if t.shares][:_MAX_BARS]
    if split:
        picture = draw_shares(
            "Where the training time went",
            [name for name, _ in split],
            [[share or 0.0 for share in shares] for _, shares in split],
            PARTS,
        )
        parts.append(Legend(list(enumerate(PARTS)), "square"))
        parts.append(
            Charts([Chart("Where the training time went", [View(picture, table)])], "beside")
        )
    else:
        parts.append(table)
    return ReportSection("throughput", title, parts)


_EXPLANATION = (
    "Env steps a second over a trial's whole training time are those of summary.json. The first "
    "training iteration also compiles kernels and fills caches; the median over iterations is what "
    "training does once it is under way. The rest is evaluation, logging and saving; with IMPALA "
    "and APPO also sampling, which goes on beside learning and is not measured."
)


def times_of(trial: ReportedTrial) -> TrainingTimes:
    """Returns where a trial's time went; it must have a row."""
    rows = trial.rows
    total = rows[-1][columns.TIME_S]
    rates = [row[columns.ENV_STEPS_PER_S] for row in rows if columns.ENV_STEPS_PER_S in row]
    rate = statistics.median(rates) if rates else None
    return TrainingTimes(total, rows[0][columns.TIME_S], rate, _shares(rows, total))


def _shares(
    rows: Sequence[dict[str, float]], total: float
) -> tuple[float | None, float | None, float] | None:
    sums = [
        sum(values) if (values := [row[column] for row in rows if column in row]) else None
        for column in _COLUMNS
    ]
    known = sum(part for part in sums if part is not None)
    whole = max(total, known)
    if not (known > 0 and whole < math.inf):
        return None
    sample, learn = (None if part is None else part / whole for part in sums)
    return sample, learn, (whole - known) / whole


def _table(
    names: Sequence[str],
    trials: Sequence[tuple[ReportedRun, ReportedTrial]],
    times: Sequence[TrainingTimes],
) -> Table:
    columns = ("trial", "env steps/s", "median env steps/s", "time", "first iteration", *PARTS)
    rows = []
    for name, (_, trial), one in zip(names, trials, times, strict=True):
        shares = one.shares or (None, None, None)
        rows.append(
            [
                Cell(name),
                count(trial.summary.env_steps_per_s),
                count(one.median_rate),
                seconds(one.total_s),
                seconds(one.first_s),
                *(percent(share) for share in shares),
            ]
        )
    return Table("Throughput and time of each trial", columns, rows)
