"""Section: what came out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from empo_rllib.results.labels import label_of
from empo_rllib.results.report.groups import trial_label
from empo_rllib.results.report.numbers import count, fixed, interval, plural, seconds
from empo_rllib.results.report.parts import Cell, Paragraph, Part, ReportSection, Table
from empo_rllib.results.report.runs import ReportedRun


def build_summary(runs: Sequence[ReportedRun]) -> ReportSection:
    """Returns statuses, the best trials, all trials and, where seeds were run, their groups."""
    parts: list[Part] = [Paragraph(_sentence(run)) for run in runs]
    parts += [_runs_table(runs), _trials_table(runs)]
    if any(group.n > 1 for run in runs for group in run.result.groups):
        parts.append(_groups_table(runs))
    parts += [Paragraph(text) for text in _failures(runs)]
    return ReportSection("summary", "Summary", parts)


def _sentence(run: ReportedRun) -> str:
    result, best = run.result, run.result.best()
    if best is None or best.metric is None:
        return f"{run.label} is {result.status}; no trial has reported {result.metric} yet."
    return (
        f"{run.label} is {result.status}. The best of {plural(len(run.trials), 'trial')} by "
        f"{result.metric} is {best.trial_id}: {best.metric:.3f} after {best.env_steps:,} env steps"
        f" ({best.stop_reason or best.status})."
    )


def _runs_table(runs: Sequence[ReportedRun]) -> Table:
    columns = ("run", "status", "trials", "metric", "best trial", "its metric", "env steps", "time")
    rows = []
    for run in runs:
        best = run.result.best()
        trials = run.result.trials
        rows.append(
            [
                Cell(run.label),
                Cell(run.result.status),
                count(len(trials)),
                Cell(f"{run.result.metric} ({run.result.mode})"),
                Cell(best.trial_id if best else "–"),
                fixed(best.metric if best else None),
                count(sum(trial.env_steps for trial in trials)),
                seconds(sum(trial.time_s for trial in trials)),
            ]
        )
    return Table("Runs: env steps and training time are sums over trials", columns, rows)


def _trials_table(runs: Sequence[ReportedRun]) -> Table:
    columns = (
        "trial",
        "settings",
        "seed",
        "status",
        "why it ended",
        "env steps",
        "episodes",
        "time",
        "env steps/s",
        "return",
        "metric",
    )
    rows = []
    for run in runs:
        for trial in run.trials:
            summary = trial.summary
            rows.append(
                [
                    Cell(trial_label(run, trial, len(runs) > 1)),
                    Cell(label_of(summary.params) or "–"),
                    count(summary.seed),
                    Cell(summary.status),
                    Cell(summary.stop_reason or "–"),
                    count(summary.env_steps),
                    count(summary.episodes),
                    seconds(summary.time_s),
                    count(summary.env_steps_per_s),
                    fixed(summary.episode_return_mean),
                    fixed(summary.metric),
                ]
            )
    return Table("Trials: the numbers of summary.json at their end", columns, rows)


def _groups_table(runs: Sequence[ReportedRun]) -> Table:
    columns = ("settings", "seeds", "mean return", "95 % interval", "interquartile mean")
    rows = []
    for run in runs:
        for group in run.result.groups:
            label = label_of(group.params)
            if len(runs) > 1:
                label = f"{run.label}: {label}" if label else run.label
            rows.append(
                [
                    Cell(label or run.label),
                    count(group.n),
                    fixed(group.mean),
                    interval(group.interval_95),
                    fixed(group.interquartile_mean),
                ]
            )
    caption = (
        "Seeds of the same settings: the return in training over seeds, and the bootstrap "
        "interval of its mean, which is too narrow for a handful of seeds"
    )
    return Table(caption, columns, rows)


def _failures(runs: Sequence[ReportedRun]) -> Iterator[str]:
    for run in runs:
        for trial in run.trials:
            if trial.summary.status == "failed":
                error = (trial.summary.error or "no result was received").strip()
                yield f"{run.label}: {trial.id} failed: {error.splitlines()[-1]}"
