"""Trials that are seeds of the same settings, and what to call them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from empo_rllib.results.labels import label_of
from empo_rllib.results.report.runs import ReportedRun, ReportedTrial

# Seven colours, each as a solid and as a dashed line.
MAX_DRAWN = 14


@dataclass(frozen=True)
class TrialGroup:
    """Trials of one run that differ only in the seed.

    Attributes:
        label: run and parameters, as far as they tell it from the other groups.
        run: whose trials they are.
        trials: at least one.
    """

    label: str
    run: ReportedRun
    trials: Sequence[ReportedTrial]

    @property
    def score(self) -> float | None:
        """The mean of the run's metric over the trials that have reported it."""
        values = [t.summary.metric for t in self.trials if t.summary.metric is not None]
        return sum(values) / len(values) if values else None


def group_trials(runs: Sequence[ReportedRun]) -> list[TrialGroup]:
    """Returns the groups of all runs in the order of their first trials."""
    groups = []
    for run in runs:
        by_params: dict[str, list[ReportedTrial]] = {}
        for trial in run.trials:
            key = json.dumps(trial.summary.params, sort_keys=True)
            by_params.setdefault(key, []).append(trial)
        for members in by_params.values():
            params = label_of(members[0].summary.params)
            if len(runs) > 1:
                label = f"{run.label}: {params}" if params else run.label
            else:
                label = params or run.label
            groups.append(TrialGroup(label, run, members))
    return groups


def drawn_groups(groups: Sequence[TrialGroup]) -> list[TrialGroup]:
    """Returns the groups that fit into one chart: the best ones, in their own order."""
    trained = [group for group in groups if any(trial.rows for trial in group.trials)]

    def rank(group: TrialGroup) -> float:
        sign = 1 if group.run.result.mode == "max" else -1
        return -float("inf") if group.score is None else sign * group.score

    best = sorted(trained, key=rank, reverse=True)[:MAX_DRAWN]
    return [group for group in trained if group in best]


def trial_label(run: ReportedRun, trial: ReportedTrial, many_runs: bool) -> str:
    """Returns the trial's id, with its run where there are several."""
    return f"{run.label}/{trial.id}" if many_runs else trial.id
