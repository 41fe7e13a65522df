"""Settings of trials: which differ, and how their scores compare at equal env steps."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from empo_rllib import columns
from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.params import known_params
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.config.search_settings import SEED
from empo_rllib.config.search_space import is_number, leaves, open_values
from empo_rllib.results.report.curves import Curve, read_curve
from empo_rllib.results.report.groups import trial_label
from empo_rllib.results.report.numbers import NOTHING
from empo_rllib.results.report.runs import ReportedRun, ReportedTrial
from empo_rllib.statistics import Estimate, estimate

# These do not change what is learned, or another section reports them.
_LEFT_OUT = ("name.", "seed.", "storage_path.", "tune.", "checkpoint.", "logging.")
# Limits end a trial. At equal env steps they have no effect.
_LIMITS = "stop."
_PARAMS, _KWARGS = "algorithm.params.", "env.kwargs."
# Ranks of fewer trials correlate by chance.
MIN_CORRELATED = 4
# With fewer, settings without any effect seem important.
MIN_WEIGHED = 20


@dataclass(frozen=True)
class Sample:
    """A trial as a point among the trials.

    Attributes:
        run: whose trial it is.
        run_number: of the run in the report.
        trial: the trial.
        label: what to call it.
        settings: its experiment, by dotted key, with the defaults of the parameters that other
            trials set.
        score: the metric, at the trial's end unless `compare` has chosen another place; None where
            the trial has not reported any.
        curve: the metric against env steps.
        sign: 1 where a larger score is better, -1 where a smaller one is.
    """

    run: ReportedRun
    run_number: int
    trial: ReportedTrial
    label: str
    settings: Mapping[str, Any]
    score: float | None
    curve: Curve
    sign: int


@dataclass(frozen=True)
class ValueScores:
    """The scores of the trials that share a value."""

    value: Any
    estimate: Estimate


@dataclass(frozen=True)
class Comparison:
    """Trials at an equal number of env steps.

    Attributes:
        env_steps: where.
        samples: the trials that have a value there, which is their score.
    """

    env_steps: float
    samples: Sequence[Sample]


def compare(samples: Sequence[Sample]) -> Comparison | None:
    """Returns the trials' scores at the most env steps that all of them reached.

    Trials that finished or that the scheduler stopped set this number. Others may have failed or
    still run: they count if they got as far. A score between two rows of `progress.csv` is
    interpolated.

    Returns:
        None where no trial has a score.
    """
    scored = [sample for sample in samples if len(sample.curve.xs)]
    bounding = [sample for sample in scored if sample.trial.summary.is_over] or scored
    if not bounding:
        return None
    env_steps = min(float(sample.curve.xs[-1]) for sample in bounding)
    return Comparison(
        env_steps,
        [
            replace(sample, score=float(np.interp(env_steps, sample.curve.xs, sample.curve.ys)))
            for sample in scored
            if sample.curve.xs[0] <= env_steps <= sample.curve.xs[-1]
        ],
    )


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
            samples.append(
                Sample(
                    run=run,
                    run_number=number,
                    trial=trial,
                    label=trial_label(run, trial, len(runs) > 1),
                    settings=_own_settings(trial.config),
                    score=score if score is not None and math.isfinite(score) else None,
                    curve=read_curve(trial, metric, columns.ENV_STEPS),
                    sign=1 if mode == "max" else -1,
                )
            )
    return metric, _with_defaults(samples)


def differing_keys(samples: Sequence[Sample]) -> list[str]:
    """Returns the dotted keys whose values are not the same in all trials."""
    keys = dict.fromkeys(key for sample in samples for key in sample.settings)
    return [key for key in keys if len({_text(sample, key) for sample in samples}) > 1]


def is_limit(key: str) -> bool:
    """Whether a setting only ends training."""
    return key.startswith(_LIMITS)


def in_order(key: str, samples: Sequence[Sample]) -> list[Sample]:
    """Returns the samples by value: numbers, then lists of numbers, then others as they come."""
    return sorted(samples, key=lambda sample: _rank(value_of(sample, key)))


def group_values(key: str, samples: Sequence[Sample]) -> list[ValueScores]:
    """Returns the scores by value, the values as `in_order` has them."""
    by_value: dict[str, list[Sample]] = {}
    for sample in in_order(key, samples):
        by_value.setdefault(_text(sample, key), []).append(sample)
    return [
        ValueScores(
            value_of(members[0], key),
            estimate([m.score for m in members if m.score is not None]),
        )
        for members in by_value.values()
    ]


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


def importances(samples: Sequence[Sample]) -> dict[str, float]:
    """Returns how much each searched setting decides whether a trial is in the better half.

    Returns:
        Shares by dotted key that sum to 1; none where the trials are of several runs or fewer than
        `MIN_WEIGHED`, or all scores are equal.
    """
    runs = {sample.run_number for sample in samples}
    trials = [
        (sample.trial.summary.params, sample.score)
        for sample in samples
        if sample.score is not None
    ]
    if len(runs) != 1 or len(trials) < MIN_WEIGHED or len({score for _, score in trials}) == 1:
        return {}
    from empo_rllib.experiment import study

    spaces = {
        ".".join(path): {"choice": space["grid_search"]} if "grid_search" in space else space
        for path, space in open_values(samples[0].run.config.to_dict()).items()
        if path != SEED
    }
    return study.importances(spaces, trials, samples[0].run.result.mode) if spaces else {}


def value_of(sample: Sample, key: str) -> Any:
    """Returns a setting, or `–` where the trial has none of this name."""
    return sample.settings.get(key, NOTHING)


def _own_settings(config: ExperimentConfig) -> dict[str, Any]:
    return {
        key: value
        for key, value in leaves(config.to_dict())
        if not f"{key}.".startswith(_LEFT_OUT) and value != {}
    }


def _with_defaults(samples: Sequence[Sample]) -> list[Sample]:
    """Gives each trial the default of every parameter that other trials set."""
    keys = dict.fromkeys(key for sample in samples for key in sample.settings)
    completed = []
    for sample in samples:
        defaults = _default_params(sample.trial.config.algorithm.name)
        # Only the environment itself knows the defaults of its arguments.
        defaults |= {key: "default" for key in keys if key.startswith(_KWARGS)}
        missing = {key: defaults[key] for key in keys if key in defaults}
        completed.append(replace(sample, settings=missing | dict(sample.settings)))
    return completed


def _default_params(algorithm: str) -> dict[str, Any]:
    rllib = {name: param.default for name, param in known_params(algorithm).items()}
    return dict(leaves(rllib | dict(ALGORITHMS[algorithm].defaults), _PARAMS))


def _rank(value: Any) -> tuple[int, list[float]]:
    if is_number(value):
        return 0, [float(value)]
    if isinstance(value, list) and all(map(is_number, value)):
        return 1, list(map(float, value))
    return 2, []


def _text(sample: Sample, key: str) -> str:
    value = value_of(sample, key)
    # 0 and 0.0 are one value.
    return json.dumps(float(value) if is_number(value) else value, sort_keys=True, default=str)
