"""Section: which settings are better than which, over their seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from empo_rllib.results.report.charts.heat import level_of
from empo_rllib.results.report.charts.lines import draw_lines
from empo_rllib.results.report.charts.svg import span
from empo_rllib.results.report.comparison import (
    MIN_SEEDS,
    ComparedGroup,
    ComparedGroups,
    compare_groups,
)
from empo_rllib.results.report.curves import Series
from empo_rllib.results.report.numbers import NOTHING, plural
from empo_rllib.results.report.parts import (
    Cell,
    Chart,
    Charts,
    Legend,
    Paragraph,
    Part,
    ReportSection,
    Table,
)
from empo_rllib.results.report.play import PlayedTrials
from empo_rllib.results.report.runs import ReportedRun
from empo_rllib.results.report.sections.evaluation import why_not_played
from empo_rllib.statistics import performance_profile, probability_of_improvement

_ID, _TITLE = "comparison", "Comparison"
_NUM_THRESHOLDS = 61


def build_comparison(runs: Sequence[ReportedRun], played: PlayedTrials) -> ReportSection:
    """Returns performance profiles and probabilities of improvement (Agarwal et al. 2021)."""
    if not played.evaluations:
        return ReportSection(_ID, _TITLE, [Paragraph(why_not_played(played))])
    compared = compare_groups(runs, played)
    if len(compared.groups) < 2:
        text = (
            "There is nothing to compare. A comparison needs two settings with at least "
            f"{MIN_SEEDS} seeds each, all of them evaluated, in the same environments."
        )
        return ReportSection(_ID, _TITLE, [Paragraph(text)])
    parts: list[Part] = [Paragraph(_explain(compared, played.episodes))]
    if compared.has_common_scale:
        parts.append(Legend([(group.number, group.label) for group in compared.groups]))
        parts.append(Charts([_profiles(compared)]))
    return ReportSection(_ID, _TITLE, [*parts, _improvements(compared.groups)])


def _explain(compared: ComparedGroups, episodes: int) -> str:
    text = f"Each seed has one score: its mean return over {plural(episodes, 'evaluated episode')}."
    if compared.normalised:
        text += " Returns are normalised: 0 is the random policy's return, 1 is the optimum."
    if compared.num_envs > 1:
        text += f" The {compared.num_envs} environments count equally."
    if compared.has_common_scale:
        text += (
            " A performance profile shows which share of the seeds scores more than the value on "
            "the x axis. A line further up is better. The areas are 95 % intervals."
        )
    else:
        text += (
            " There is no performance profile: the optimum of an environment is unknown, so its "
            "returns have no scale in common with the others."
        )
    text += (
        " The table has the probability that a seed of the row scores more than a seed of the "
        "column. A tie counts half. At 0.5 neither is better. Intervals are 95 %, by a stratified "
        "bootstrap over seeds (Agarwal et al. 2021, arXiv:2108.13264). With three to five seeds "
        "they are too narrow."
    )
    if compared.left_out:
        left_out = ", ".join(compared.left_out)
        text += f" Left out, because seeds or evaluations are missing: {left_out}."
    return text


def _profiles(compared: ComparedGroups) -> Chart:
    scores = [s for group in compared.groups for of_env in group.scores for s in of_env]
    thresholds = np.linspace(*span(scores), _NUM_THRESHOLDS)
    series = []
    for group in compared.groups:
        profile = performance_profile(group.scores, thresholds)
        ends = profile.low, profile.high
        series.append(Series(group.label, group.number, [], thresholds, profile.shares, *ends))
    x_label = "normalised return" if compared.normalised else "return"
    title = "share of seeds that score more"
    return Chart(title, [draw_lines(title, series, "", x_label)])


def _improvements(groups: Sequence[ComparedGroup]) -> Table:
    rows = [[Cell(one.label), *(_improvement(one, other) for other in groups)] for one in groups]
    columns = ["settings", *(f"better than {group.label}" for group in groups)]
    return Table("Probability of improvement, and its 95 % interval", columns, rows)


def _improvement(one: ComparedGroup, other: ComparedGroup) -> Cell:
    if one is other:
        return Cell(NOTHING)
    found = probability_of_improvement(one.scores, other.scores)
    text = f"{found.probability:.2f} ({found.low:.2f} to {found.high:.2f})"
    return Cell(text, found.probability, level_of(found.probability))
