"""Section: which trials no other betters in all objectives."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from empo_rllib.results.labels import short_names
from empo_rllib.results.report.charts.points import Point, draw_points
from empo_rllib.results.report.numbers import fixed, setting
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

_TITLE = "Pareto front"
_FRONT, _OTHERS = 0, 1


def build_pareto(runs: Sequence[ReportedRun]) -> ReportSection:
    """Returns the trials of each run with several objectives, each pair of these as a chart."""
    parts = [part for run in runs for part in _of_run(run)]
    nothing = "No run has several objectives (tune.metric: a list)."
    return ReportSection("pareto-front", _TITLE, parts or [Paragraph(nothing)])


def _of_run(run: ReportedRun) -> list[Part]:
    objectives, front = run.result.objectives, run.result.pareto_front
    trials = [trial for trial in run.trials if objectives.keys() <= trial.summary.scores.keys()]
    if not objectives or not trials:
        return []
    text = (
        f"{run.label}: {len(front)} of {len(trials)} trials are on the Pareto front: no other is "
        "at least as good in every objective and better in one. Objectives: "
        + ", ".join(f"{metric} ({mode})" for metric, mode in objectives.items())
        + ". Each is a trial's last settled value."
    )
    charts = [
        _chart(f"{run.label}: {second} against {first}", first, second, trials, front)
        for first, second in itertools.combinations(objectives, 2)
    ]
    legend = Legend([(_FRONT, "Pareto front"), (_OTHERS, "others")], "square")
    return [Paragraph(text), legend, Charts(charts, "grid"), _table(run, trials)]


def _chart(
    title: str, first: str, second: str, trials: Sequence[ReportedTrial], front: Sequence[str]
) -> Chart:
    ordered = sorted(trials, key=lambda trial: trial.summary.scores[first])
    scores = [trial.summary.scores for trial in ordered]
    points = [
        Point(one[first], one[second], trial.id, _FRONT if trial.id in front else _OTHERS)
        for trial, one in zip(ordered, scores, strict=True)
    ]
    rows = [
        [Cell(trial.id), fixed(one[first]), fixed(one[second])]
        for trial, one in zip(ordered, scores, strict=True)
    ]
    table = Table(title, ["trial", first, second], rows)
    return Chart(title, [View(draw_points(title, points, first), table)])


def _table(run: ReportedRun, trials: Sequence[ReportedTrial]) -> Table:
    objectives, front = list(run.result.objectives), run.result.pareto_front
    names = short_names(list(dict.fromkeys(key for t in trials for key in t.summary.params)))
    rows = []
    for trial in sorted(trials, key=lambda trial: trial.id not in front):
        params, scores = trial.summary.params, trial.summary.scores
        values = [setting(params[key]) if key in params else Cell("–") for key in names]
        numbers = [fixed(scores[metric]) for metric in objectives]
        rows.append([Cell(trial.id), Cell("yes" if trial.id in front else "no"), *numbers, *values])
    caption = f"{run.label}: objectives and settings, the Pareto front first"
    return Table(caption, ["trial", "on the front", *objectives, *names.values()], rows)
