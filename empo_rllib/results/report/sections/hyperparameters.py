"""Section: which settings differ between trials, and what they go with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from empo_rllib.results.labels import short_names
from empo_rllib.results.report.charts.parallel import Axis, draw_parallel
from empo_rllib.results.report.charts.points import Point, draw_points
from empo_rllib.results.report.charts.surface import draw_surface
from empo_rllib.results.report.numbers import count, estimate_cells, fixed, plural, setting
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
    Comparison,
    Sample,
    compare,
    differing_keys,
    group_values,
    importances,
    in_order,
    is_limit,
    is_numeric,
    rank_correlation,
    samples_of,
    value_of,
)

_TITLE = "Hyperparameters"
_MAX_CHARTS, _MAX_AXES = 8, 7


def build_hyperparameters(runs: Sequence[ReportedRun]) -> ReportSection:
    """Returns the settings that differ, each trial's metric beside them, and their effect."""
    metric, samples = samples_of(runs)
    keys = differing_keys(samples)
    if not keys:
        text = "No setting differs between the trials, apart from the seed."
        return ReportSection("hyperparameters", _TITLE, [Paragraph(text)])
    names = short_names(keys)
    trials = _trials(keys, names, metric, samples)
    if len({run.config.env.id for run in runs}) > 1:
        text = "The runs have different environments, whose returns do not compare."
        return ReportSection("hyperparameters", _TITLE, [Paragraph(text), trials])
    compared = compare(samples)
    effective = [key for key in keys if not is_limit(key)]
    parts: list[Part] = [Paragraph(_explain(metric, samples, compared, bool(effective)))]
    if compared is not None and effective:
        weights = importances(compared.samples)
        parts.append(_effects(effective, names, compared.samples, weights))
        score = _at(metric, compared)
        charts = [_chart(k, names[k], score, compared.samples) for k in effective[:_MAX_CHARTS]]
        parts.append(Charts(charts, "beside"))
        if several := list(_of_several(effective, names, score, compared.samples, weights)):
            parts.append(Charts(several))
        trials = _trials(keys, names, metric, samples, compared)
    return ReportSection("hyperparameters", _TITLE, [*parts, trials])


def _explain(
    metric: str, samples: Sequence[Sample], compared: Comparison | None, has_effects: bool
) -> str:
    if not has_effects:
        return "Only limits (stop) differ between the trials. They have no effect that is compared."
    if compared is None:
        return f"No trial has reported {metric} yet."
    text = (
        f"Trials are compared at equal env steps: by {metric} at {compared.env_steps:,.0f} env "
        "steps. All trials that finished or were stopped early got that far. "
        "A value between two rows of progress.csv is interpolated. "
    )
    if missing := len(samples) - len(compared.samples):
        text += f"Left out, without a value there: {missing} of {plural(len(samples), 'trial')}. "
    return text + (
        "A parameter that a trial does not set has its default value. An effect is a correlation "
        "in these trials. With few trials, or where other settings differ too, the setting need "
        "not be its cause."
    )


def _at(metric: str, compared: Comparison) -> str:
    return f"{metric} at {compared.env_steps:,.0f} env steps"


def _effects(
    keys: Sequence[str],
    names: dict[str, str],
    samples: Sequence[Sample],
    weights: Mapping[str, float],
) -> Table:
    columns = ["setting", "values", "trials", "rank correlation", "best value", "mean with it"]
    rows = []
    for key in keys:
        means = group_values(key, samples)
        best = max(means, key=lambda one: samples[0].sign * one.estimate.mean)
        row = [
            Cell(names[key]),
            count(len(means)),
            count(len(samples)),
            _correlation(key, samples),
            setting(best.value),
            fixed(best.estimate.mean),
        ]
        rows.append([*row, fixed(weights.get(key), 2)] if weights else row)
    caption = (
        "Effect of each setting: Spearman's rank correlation for numbers, from "
        f"{MIN_CORRELATED} trials on"
    )
    if weights:
        columns.append("importance")
        caption += (
            "; importance by Optuna's PED-ANOVA, the share of each searched setting in what tells "
            "the better half of the trials from the others"
        )
    return Table(caption, columns, rows)


def _correlation(key: str, samples: Sequence[Sample]) -> Cell:
    if not is_numeric(key, samples):
        return Cell("categories")
    return fixed(rank_correlation(key, samples), 2)


def _chart(key: str, name: str, score: str, samples: Sequence[Sample]) -> Chart:
    numeric = is_numeric(key, samples)
    points = [
        Point(
            float(sample.settings[key]) if numeric else setting(value_of(sample, key)).text,
            sample.score,
            sample.label,
            sample.run_number,
        )
        for sample in in_order(key, samples)
        if sample.score is not None
    ]
    title = f"{score} against {name}"
    rows = [
        [setting(one.value), count(one.estimate.n), *estimate_cells(one.estimate)]
        for one in group_values(key, samples)
    ]
    columns = (name, "trials", "mean", "95 % interval", "interquartile mean")
    table = Table(f"{score} by {name}", columns, rows)
    return Chart(title, [View(draw_points(title, points, name), table)])


def _of_several(
    keys: Sequence[str],
    names: dict[str, str],
    score: str,
    samples: Sequence[Sample],
    weights: Mapping[str, float],
) -> Iterator[Chart]:
    """Yields all settings at once, and the two numbers that decide most, where that is known."""
    scored = [sample for sample in samples if sample.score is not None]
    if len(keys) > 1 and len(scored) > 1:
        yield _across(keys[:_MAX_AXES], names, score, scored)
    numbers = [key for key in keys if key in weights and is_numeric(key, scored)]
    if len(numbers) > 1:
        first, second = sorted(numbers, key=weights.__getitem__, reverse=True)[:2]
        yield _surface(first, second, names, score, scored)


def _across(
    keys: Sequence[str], names: dict[str, str], score: str, samples: Sequence[Sample]
) -> Chart:
    axes = [Axis(names[key], _numbers_or_texts(key, samples)) for key in keys]
    axes.append(Axis(score.partition(" at ")[0], [_score(sample) for sample in samples]))
    title = f"{score} across settings"
    labels = [f"{sample.label}: {_score(sample):.4g}" for sample in samples]
    picture = draw_parallel(title, axes, labels)
    return Chart(title, [View(picture, _table(title, keys, names, score, samples))])


def _numbers_or_texts(key: str, samples: Sequence[Sample]) -> list[float] | list[str]:
    if is_numeric(key, samples):
        return [float(sample.settings[key]) for sample in samples]
    return [setting(value_of(sample, key)).text for sample in samples]


def _surface(
    first: str, second: str, names: dict[str, str], score: str, samples: Sequence[Sample]
) -> Chart:
    title = f"{score} by {names[first]} and {names[second]}"
    picture = draw_surface(
        title,
        [float(sample.settings[first]) for sample in samples],
        [float(sample.settings[second]) for sample in samples],
        [_score(sample) for sample in samples],
        [sample.label for sample in samples],
        (names[first], names[second]),
    )
    return Chart(title, [View(picture, _table(title, [first, second], names, score, samples))])


def _table(
    title: str,
    keys: Sequence[str],
    names: dict[str, str],
    score: str,
    samples: Sequence[Sample],
) -> Table:
    rows = [
        [Cell(s.label), *(setting(value_of(s, key)) for key in keys), fixed(s.score)]
        for s in samples
    ]
    return Table(title, ["trial", *(names[key] for key in keys), score], rows)


def _score(sample: Sample) -> float:
    assert sample.score is not None
    return sample.score


def _trials(
    keys: Sequence[str],
    names: dict[str, str],
    metric: str,
    samples: Sequence[Sample],
    compared: Comparison | None = None,
) -> Table:
    columns = ["trial", "seed", *(names[key] for key in keys), f"{metric} at the end", "env steps"]
    scores = {}
    if compared is not None:
        columns.append(_at(metric, compared))
        scores = {sample.label: sample.score for sample in compared.samples}
    rows = []
    for sample in samples:
        values = (setting(value_of(sample, key)) for key in keys)
        summary = sample.trial.summary
        row = [Cell(sample.label), count(summary.seed), *values, fixed(sample.score)]
        row.append(count(summary.env_steps))
        rows.append(row if compared is None else [*row, fixed(scores.get(sample.label))])
    return Table("Settings that differ, and the result of each trial", columns, rows)
