"""Section: learning curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from empo_rllib import columns
from empo_rllib.results.evaluation import EvaluationResult, references_by_env
from empo_rllib.results.report.charts.lines import Dot, Reference, draw_lines
from empo_rllib.results.report.curves import MAX_POINTS, Series, build_series
from empo_rllib.results.report.groups import TrialGroup, drawn_groups, group_trials
from empo_rllib.results.report.numbers import plural
from empo_rllib.results.report.parts import (
    AxisChoice,
    Chart,
    Charts,
    Legend,
    Paragraph,
    Part,
    ReportSection,
)
from empo_rllib.results.report.play import PlayedTrials
from empo_rllib.results.report.runs import ReportedRun
from empo_rllib.results.report.sections.setup import policies_of
from empo_rllib.statistics import estimate

AXES = ((columns.ENV_STEPS, "env steps"), (columns.TIME_S, "seconds of training"))
_TEAM = (
    (columns.EPISODE_RETURN_MEAN, "return (sum over agents)"),
    (columns.SUCCESS_RATE, "success rate"),
    (columns.EVALUATION + columns.EPISODE_RETURN_MEAN, "return in evaluations"),
    (columns.EVALUATION + columns.SUCCESS_RATE, "success rate in evaluations"),
)
# What learners measure, by algorithm one or the other; titles end in the policy's name.
_LEARNER = (
    ("entropy", "entropy of"),
    ("kl", "KL divergence of"),
    ("policy_loss", "policy loss of"),
    ("value_loss", "value loss of"),
    ("q_loss", "Q loss of"),
    ("td_error", "TD error of"),
    ("gradient_norm", "gradient norm of"),
)
# The curves of a hundred policies would be a file that nobody opens.
_MAX_POLICIES = 8
_MAX_LEARNERS = 4
_MAX_CUSTOM = 12


def build_curves(runs: Sequence[ReportedRun], played: PlayedTrials) -> ReportSection:
    """Returns the curves of the team and of each policy, seeds joined.

    The team's end in dots, which are the report's own evaluation.
    """
    groups = group_trials(runs)
    drawn = drawn_groups(groups)
    policies = list(dict.fromkeys(policy for run in runs for policy in policies_of(run)))
    charts = _charts(drawn, _columns(policies[:_MAX_POLICIES]), played)
    learners = _charts(drawn, _learner_columns(policies[:_MAX_LEARNERS]), played)
    custom = _custom_columns(drawn)
    own = _charts(drawn, custom[:_MAX_CUSTOM], played)
    if not charts and not own:
        text = "No trial has finished an episode yet, so there is nothing to draw."
        return ReportSection("curves", "Learning curves", [Paragraph(text)])
    parts: list[Part] = [
        Paragraph(_explain(runs, groups, drawn) + _explain_dots(drawn, played)),
        AxisChoice(AXES),
        Legend([(number, group.label) for number, group in enumerate(drawn)]),
        Charts(charts),
    ]
    if len(policies) > _MAX_POLICIES:
        parts.append(Paragraph(f"Drawn are the first {_MAX_POLICIES} of {len(policies)} policies."))
    if own:
        parts += [Paragraph(_explain_custom(len(custom))), Charts(own)]
    if learners:
        parts += [Paragraph(_explain_learners(len(policies))), Charts(learners)]
    return ReportSection("curves", "Learning curves", parts)


def _explain_learners(num_policies: int) -> str:
    text = (
        "The learner's own numbers, each of one training iteration. Entropy falls as a policy "
        "becomes sure of its actions. At 0 it explores no more."
    )
    if num_policies > _MAX_LEARNERS:
        text += f" Drawn are the first {_MAX_LEARNERS} of {num_policies} policies."
    return text


def _explain_custom(count: int) -> str:
    text = "What the callbacks of this experiment log (algorithm.callbacks), as they log it."
    if count > _MAX_CUSTOM:
        text += f" Drawn are the first {_MAX_CUSTOM} of {count}."
    return text


def _custom_columns(groups: Sequence[TrialGroup]) -> list[tuple[str, str]]:
    prefixes = {columns.CUSTOM: "", columns.EVALUATION + columns.CUSTOM: " in evaluations"}
    keys = dict.fromkeys(
        key for group in groups for trial in group.trials for row in trial.rows for key in row
    )
    return [
        (key, key.removeprefix(prefix) + suffix)
        for key in keys
        for prefix, suffix in prefixes.items()
        if key.startswith(prefix)
    ]


def _columns(policies: Sequence[str]) -> list[tuple[str, str]]:
    return [*_TEAM, *((columns.POLICY_RETURN_MEAN + p, f"return of policy {p}") for p in policies)]


def _learner_columns(policies: Sequence[str]) -> list[tuple[str, str]]:
    return [
        (f"{columns.LEARNER}{policy}/{name}", f"{title} policy {policy}")
        for name, title in _LEARNER
        for policy in policies
    ]


def _charts(
    groups: Sequence[TrialGroup], drawn: Sequence[tuple[str, str]], played: PlayedTrials
) -> list[Chart]:
    """Returns the charts of those columns that some trial has."""
    return [chart for column, title in drawn if (chart := _chart(groups, column, title, played))]


def _chart(
    groups: Sequence[TrialGroup], column: str, title: str, played: PlayedTrials
) -> Chart | None:
    views = []
    references = _references(column, played)
    for axis, label in AXES:
        series = build_series(groups, column, axis)
        if not series:
            return None
        if column.startswith(columns.EVALUATION):
            dots = [dot for one in series for dot in _dots_in_training(one)]
        else:
            dots = _dots_at_the_end(groups, column, axis, played)
        views.append(draw_lines(title, series, axis, label, dots, references))
    return Chart(title, views)


def _references(column: str, played: PlayedTrials) -> list[Reference]:
    """Returns the random policy and the optimum, where all was played in one environment."""
    found = references_by_env([one.result for one in played.evaluations])
    if len(found) != 1:
        return []
    ((_, references),) = found
    chance, name = references.random_policy, column.removeprefix(columns.EVALUATION)
    values: dict[str, float | None] = {}
    if name == columns.EPISODE_RETURN_MEAN:
        values = {"random policy": chance.episode_return.mean, "optimum": references.optimum}
    elif name == columns.SUCCESS_RATE:
        values = {"random policy": chance.success_rate}
    return [Reference(label, value) for label, value in values.items() if value is not None]


def _dots_in_training(one: Series) -> Iterator[Dot]:
    """Yields the mean wherever a trial was evaluated, with its interval over seeds."""
    evaluated = np.isin(one.xs, np.concatenate([curve.xs for curve in one.curves]))
    for index in np.flatnonzero(evaluated & np.isfinite(one.mean)):
        x, mean, low, high = (float(a[index]) for a in (one.xs, one.mean, one.low, one.high))
        yield Dot(x, mean, (low, high) if math.isfinite(low) else None, one.label, one.number)


def _dots_at_the_end(
    groups: Sequence[TrialGroup], column: str, axis: str, played: PlayedTrials
) -> list[Dot]:
    """Returns the evaluation of each group, at the end of its training."""
    dots = []
    for number, group in enumerate(groups):
        results = played.results_of(group.trials) or []
        evaluated = _evaluated(column, results) if results else None
        if evaluated is not None:
            at = max(row[axis] for trial in group.trials for row in trial.rows)
            dots.append(Dot(at, *evaluated, f"{group.label}, evaluated", number))
    return dots


def _evaluated(
    column: str, results: Sequence[EvaluationResult]
) -> tuple[float, tuple[float, float] | None] | None:
    """Returns the mean and its 95 % interval: over seeds, or over the episodes of a single one."""
    values: list[float | None]
    if column == columns.EPISODE_RETURN_MEAN:
        values = [one.episode_return.mean for one in results]
        of_episodes = results[0].episode_return.interval_95
    elif column == columns.SUCCESS_RATE:
        values = [one.success_rate for one in results]
        of_episodes = results[0].success_interval_95
    else:
        return None
    known = [value for value in values if value is not None]
    if len(known) < len(results):
        return None
    over_seeds = estimate(known)
    return over_seeds.mean, over_seeds.interval_95 or of_episodes


def _explain_dots(drawn: Sequence[TrialGroup], played: PlayedTrials) -> str:
    if not any(played.results_of(group.trials) for group in drawn):
        return ""
    return (
        " A dot at the end of a curve is the evaluation of the newest checkpoints on new episodes. "
        "Its line is the 95 % interval: over seeds, or over episodes where there is one seed. "
        "Dashed lines are the random policy and the optimum, where they are known."
    )


def _explain(
    runs: Sequence[ReportedRun], groups: Sequence[TrialGroup], drawn: Sequence[TrialGroup]
) -> str:
    window = {
        trial.config.algorithm.params.get("metrics_num_episodes_for_smoothing", 100)
        for run in runs
        for trial in run.trials
    }
    episodes = " or ".join(str(size) for size in sorted(window))
    text = (
        f"Each value is the mean over the last {episodes} training episodes, as in progress.csv; "
        "nothing else is smoothed. Point at a chart, or go to it and use the arrow keys, to read "
        "its values off. "
    )
    if any(len(group.trials) > 1 for group in drawn):
        text += (
            "A thick line is the mean over the seeds of the same settings, from where all have a "
            "value; a seed that has ended counts with its last one. Thin lines are the seeds, and "
            "the area is the 95 % bootstrap interval of the mean, which is too narrow for a "
            "handful of seeds. "
        )
    if len(drawn) < len(groups):
        text += f"Drawn are the {len(drawn)} best of {plural(len(groups), 'group')} of trials. "
    return text + f"Tables have at most {MAX_POINTS} rows, values between two rows interpolated."
