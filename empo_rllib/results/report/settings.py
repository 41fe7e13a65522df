"""Settings of trials: which differ, and what goes with them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from empo_rllib import columns
from empo_rllib.config.search_space import is_number, leaves
from empo_rllib.results.report.groups import trial_label
from empo_rllib.results.report.numbers import NOTHING
from empo_rllib.results.report.runs import ReportedRun, ReportedTrial
from empo_rllib.statistics import Estimate, estimate

# What has no effect on what is learned, or is told elsewhere.
_LEFT_OUT = ("name.", "seed.", "storage_path.", "tune.", "checkpoint.", "logging.")
# Ranks of fewer trials correlate by chance.
MIN_CORRELATED = 4


@dataclass(frozen=True)
class Sample:
    """A trial as a point among the trials.

    Attributes:
        run: whose trial it is.
        run_number: of the run in the report.
        trial: the trial.
        label: what to call it.
        settings: its experiment, by dotted key.
        score: the metric at its end; None where it has not reported any.
        sign: 1 where a larger score is better, -1 where a smaller one is.
    """

    run: ReportedRun
    run_number: int
    trial: ReportedTrial
    label: str
    settings: Mapping[str, Any]
    score: float | None
    sign: int


@dataclass(frozen=True)
class ValueScores:
    """The scores of the trials that share a value."""

    value: Any
    estimate: Estimate


def samples_of(runs: Sequence[ReportedRun]) -> tuple[str, list[Sample]]:
    """Returns the name of the score, and every trial with its score.

    The score is the runs' metric (`tune.metric`), or the return where the runs have several.
    """
    metrics = {(run.result.metric, run.result.mode) for run in runs}
    metric, mode = (
        next(iter(metrics)) if len(metrics) == 1 else (columns.EPISODE_RETURN_MEAN, "max")
    )
    samples = []
    for number, run in enumerate(runs):
        for trial in run.trials:
            summary = trial.summary
            score = summary.metric if len(metrics) == 1 else summary.episode_return_mean
            settings = {
                key: value
                for key, value in leaves(trial.config.to_dict())
                if not f"{key}.".startswith(_LEFT_OUT) and value != {}
            }
            samples.append(
                Sample(
                    run=run,
                    run_number=number,
                    trial=trial,
                    label=trial_label(run, trial, len(runs) > 1),
                    settings=settings,
                    score=score if score is not None and math.isfinite(score) else None,
                    sign=1 if mode == "max" else -1,
                )
            )
    return metric, samples


def differing_keys(samples: Sequence[Sample]) -> list[str]:
    """Returns the dotted keys whose values are not the same in all trials."""
    keys = dict.fromkeys(key for sample in samples for key in sample.settings)
    return [key for key in keys if len({_text(sample, key) for sample in samples}) > 1]


def group_values(key: str, samples: Sequence[Sample]) -> list[ValueScores]:
    """Returns the scores by value, numbers in ascending order, others as they first appear."""
    by_value: dict[str, list[Sample]] = {}
    for sample in samples:
        by_value.setdefault(_text(sample, key), []).append(sample)
    groups = [
        ValueScores(
            value_of(members[0], key),
            estimate([m.score for m in members if m.score is not None]),
        )
        for members in by_value.values()
    ]
    if all(is_number(group.value) for group in groups):
        groups.sort(key=lambda group: float(group.value))
    return groups


def is_numeric(key: str, samples: Sequence[Sample]) -> bool:
    """Whether a setting is a number in every trial."""
    return all(is_number(value_of(sample, key)) for sample in samples)


def rank_correlation(key: str, samples: Sequence[Sample]) -> float:
    """Returns Spearman's rank correlation of a numeric setting and the score.

    Returns:
        NaN where all scores are equal, or there are fewer than `MIN_CORRELATED` trials.
    """
    from scipy import stats

    if len(samples) < MIN_CORRELATED:
        return math.nan
    values = [sample.settings[key] for sample in samples]
    # Pearson's correlation of the ranks, which scipy's own name warns about when one is constant.
    ranks = [stats.rankdata(column) for column in (values, [sample.score for sample in samples])]
    if any(np.ptp(column) == 0 for column in ranks):
        return math.nan
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def value_of(sample: Sample, key: str) -> Any:
    """Returns a setting, or `–` where the trial has none of this name."""
    return sample.settings.get(key, NOTHING)


def _text(sample: Sample, key: str) -> str:
    return json.dumps(value_of(sample, key), sort_keys=True, default=str)
