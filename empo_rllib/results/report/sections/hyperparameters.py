"""Section: which settings differ between trials, and what they go with."""

from __future__ import annotations

from collections.abc import Sequence

from empo_rllib.results.labels import short_names
from empo_rllib.results.report.charts.points import Point, draw_points
from empo_rllib.results.report.groups import trial_label
from empo_rllib.results.report.numbers import count, estimate_cells, fixed, setting
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
from empo_rllib.results.report.settings import (
    MIN_CORRELATED,
    Sample,
    differing_keys,
    group_values,
    is_numeric,
    rank_correlation,
    samples_of,
    value_of,
)

_TITLE = "Hyperparameters"
_MAX_CHARTS = 8


def build_hyperparameters(runs: Sequence[ReportedRun]) -> ReportSection:
    """Returns the settings that differ, each trial's metric beside them, and their effect."""
    metric, samples = samples_of(runs)
    keys = differing_keys(samples)
    if not keys:
        text = "No setting differs between the trials, apart from the seed."
        return ReportSection("hyperparameters", _TITLE, [Paragraph(text)])
    names = short_names(keys)
    scored = [sample for sample in samples if sample.score is not None]
    parts: list[Part] = [
        Paragraph(
            f"Effects are on {metric} at the end of training. They are what goes together in these "
            "trials: with few of them, or where other settings differ too, it need not be a cause."
        )
    ]
    if len({run.config.env.id for run in runs}) > 1:
        parts = [Paragraph("The runs have different environments, whose returns do not compare.")]
    elif scored:
        parts.append(_effects(keys, names, scored))
        charts = [_chart(key, names[key], metric, scored) for key in keys[:_MAX_CHARTS]]
        parts.append(Charts(charts, "beside"))
    return ReportSection(
        "hyperparameters", _TITLE, [*parts, _trials(runs, keys, names, metric, samples)]
    )


def _effects(keys: Sequence[str], names: dict[str, str], samples: Sequence[Sample]) -> Table:
    columns = ("setting", "values", "trials", "rank correlation", "best value", "mean with it")
    rows = []
    for key in keys:
        means = group_values(key, samples)
        best = max(means, key=lambda one: samples[0].sign * one.estimate.mean)
        rows.append(
            [
                Cell(names[key]),
                count(len(means)),
                count(len(samples)),
                _correlation(key, samples),
                setting(best.value),
                fixed(best.estimate.mean),
            ]
        )
    caption = (
        "Effect of each setting: Spearman's rank correlation for numbers, from "
        f"{MIN_CORRELATED} trials on"
    )
    return Table(caption, columns, rows)


def _correlation(key: str, samples: Sequence[Sample]) -> Cell:
    if not is_numeric(key, samples):
        return Cell("categories")
    return fixed(rank_correlation(key, samples), 2)


def _chart(key: str, name: str, metric: str, samples: Sequence[Sample]) -> Chart:
    numeric = is_numeric(key, samples)
    points = [
        Point(
            float(sample.settings[key]) if numeric else setting(value_of(sample, key)).text,
            sample.score,
            sample.label,
            sample.run_number,
        )
        for sample in samples
        if sample.score is not None
    ]
    title = f"{metric} against {name}"
    rows = [
        [setting(one.value), count(one.estimate.n), *estimate_cells(one.estimate)]
        for one in group_values(key, samples)
    ]
    columns = (name, "trials", "mean", "95 % interval", "interquartile mean")
    table = Table(f"{metric} by {name}", columns, rows)
    return Chart(title, [View(draw_points(title, points, name), table)])


def _trials(
    runs: Sequence[ReportedRun],
    keys: Sequence[str],
    names: dict[str, str],
    metric: str,
    samples: Sequence[Sample],
) -> Table:
    columns = ["trial", "seed", *(names[key] for key in keys), metric]
    rows = []
    for sample in samples:
        values = (setting(value_of(sample, key)) for key in keys)
        label = trial_label(sample.run, sample.trial, len(runs) > 1)
        seed = count(sample.trial.summary.seed)
        rows.append([Cell(label), seed, *values, fixed(sample.score)])
    return Table("Settings that differ, and what came of each trial", columns, rows)
