"""Section: how fast, and where the time went."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from empo_rllib import columns
from empo_rllib.results.report.charts.bars import draw_shares
from empo_rllib.results.report.charts.lines import draw_lines
from empo_rllib.results.report.curves import build_series
from empo_rllib.results.report.groups import TrialGroup, drawn_groups, group_trials, trial_label
from empo_rllib.results.report.numbers import NOTHING, count, fixed, percent, seconds
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
from empo_rllib.results.report.runs import Hardware, ReportedRun, ReportedTrial

PARTS = ("sampling", "learning", "the rest")
_COLUMNS = (columns.SAMPLE_S, columns.LEARN_S)
_CURVES = (
    (columns.ENV_STEPS_PER_S, "env steps a second"),
    (columns.SAMPLE_S, "seconds of sampling in a training iteration"),
    (columns.LEARN_S, "seconds of learning in a training iteration"),
)
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
    drawn = drawn_groups(group_trials(runs))
    if charts := [chart for column, name in _CURVES if (chart := _chart(drawn, column, name))]:
        parts.append(Legend([(number, group.label) for number, group in enumerate(drawn)]))
        parts.append(Charts(charts))
    parts.append(_hardware(runs))
    return ReportSection("throughput", title, parts)


def _chart(groups: Sequence[TrialGroup], column: str, name: str) -> Chart | None:
    series = build_series(groups, column, columns.ENV_STEPS)
    return Chart(name, [draw_lines(name, series, "", "env steps")]) if series else None


def _hardware(runs: Sequence[ReportedRun]) -> Table:
    """Returns what each run had in its last session, and how long its trials used it."""
    names = (
        "run",
        "host",
        "nodes",
        "CPUs",
        "GPUs",
        "memory (GB)",
        "trials' time",
        "env runners on",
    )
    rows = []
    for run in runs:
        hardware = run.sessions[-1].hardware if run.sessions else Hardware()
        found = hardware.cluster_resources or {}
        memory = found.get("memory")
        hosts = dict.fromkeys(host for t in run.trials for host in t.summary.env_runner_hosts)
        rows.append(
            [
                Cell(run.label),
                Cell(hardware.host),
                count(hardware.cluster_nodes),
                count(found.get("CPU")),
                count(found.get("GPU")),
                fixed(None if memory is None else memory / 1e9, 1),
                seconds(sum(trial.summary.time_s for trial in run.trials)),
                Cell(", ".join(hosts) or NOTHING),
            ]
        )
    return Table("Hardware of each run in its last session", names, rows)


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
