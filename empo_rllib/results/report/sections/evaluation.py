"""Section: trials evaluated on new episodes."""

from __future__ import annotations

from collections.abc import Sequence

from empo_rllib.results.evaluation import describe_cut, references_by_env
from empo_rllib.results.labels import label_of
from empo_rllib.results.report.groups import trial_label
from empo_rllib.results.report.numbers import (
    NOTHING,
    count,
    estimate_cells,
    fixed,
    interval,
    percent,
    percent_interval,
    plural,
)
from empo_rllib.results.report.parts import Cell, Paragraph, Part, ReportSection, Table
from empo_rllib.results.report.play import MAX_EVALUATED, Evaluation, PlayedTrials
from empo_rllib.results.report.runs import ReportedRun
from empo_rllib.results.runs import EvaluationGroup, group_results

NOT_PLAYED = "Nothing was played: the report was made with --episodes 0."
NOT_SAVED = "No trial has saved a checkpoint yet, so there is nothing to play with."


def build_evaluation(runs: Sequence[ReportedRun], played: PlayedTrials) -> ReportSection:
    """Returns the returns of trained policies, of the team, of each policy and of each agent."""
    title = "Evaluation"
    if not played.evaluations:
        return ReportSection("evaluation", title, [Paragraph(why_not_played(played))])
    parts: list[Part] = [Paragraph(_explain(runs, played)), _table(runs, played.evaluations)]
    if cut := describe_cut([one.result for one in played.evaluations]):
        parts.insert(1, Paragraph(cut))
    if groups := _groups(runs, played.evaluations):
        parts.append(groups)
    if details := _details(runs, played.evaluations):
        parts.append(details)
    return ReportSection("evaluation", title, parts)


def why_not_played(played: PlayedTrials) -> str:
    """Returns the reason why no episode was played."""
    return NOT_PLAYED if played.episodes == 0 else NOT_SAVED


def _explain(runs: Sequence[ReportedRun], played: PlayedTrials) -> str:
    text = (
        f"Each newest checkpoint plays {plural(played.episodes, 'new episode')} to its end, with "
        f"the seeds {played.seed} to {played.seed + played.episodes - 1}. The protocol is that of "
        "the evaluate command, which prints the same numbers. Actions are sampled as in training. "
        "DQN, and the best trial of each run once more, takes greedy actions: the most likely "
        "ones. A greedy policy can be stuck where its most likely action changes nothing. "
        "Intervals are 95 %: bootstrap over episodes for returns, Wilson for success rates. The "
        "random policy takes every action with equal chances. The optimum is a bound, known for "
        "Empty rooms only."
    )
    if any(one.is_best for one in played.evaluations):
        text += " The best trial is the one with the best metric in training."
    if any(len(run.ranked()) > MAX_EVALUATED for run in runs):
        text += f" Evaluated are the {MAX_EVALUATED} best trials of each run by its metric."
    return text


def _table(runs: Sequence[ReportedRun], evaluations: Sequence[Evaluation]) -> Table:
    columns = (
        "trial",
        "settings",
        "seed",
        "actions",
        "return",
        "95 % interval",
        "interquartile mean",
        "success rate",
        "success interval",
        "episode length",
    )
    rows = []
    for one in evaluations:
        result = one.result
        name = trial_label(one.run, one.trial, len(runs) > 1)
        success = percent(result.success_rate) if result.success_rate is not None else None
        rows.append(
            [
                Cell(f"{name}, best" if one.is_best else name),
                Cell(label_of(one.trial.summary.params) or NOTHING),
                count(one.trial.summary.seed),
                Cell("greedy" if result.protocol.greedy else "sampled"),
                *estimate_cells(result.episode_return),
                success or Cell("not told"),
                percent_interval(result.success_interval_95),
                fixed(result.episode_length.mean, 1),
            ]
        )
    rows += _references(evaluations)
    return Table("Evaluation: the return of an episode, a sum over agents", columns, rows)


def _references(evaluations: Sequence[Evaluation]) -> list[list[Cell]]:
    """Rows of the random policy and the optimum, of each environment."""
    rows, unknown = [], Cell(NOTHING)
    for where, references in references_by_env([one.result for one in evaluations]):
        chance = references.random_policy
        rows.append(
            [
                *(Cell(f"random policy{where}"), unknown, unknown, Cell("random")),
                *estimate_cells(chance.episode_return),
                percent(chance.success_rate),
                percent_interval(chance.success_interval_95),
                fixed(chance.episode_length.mean, 1),
            ]
        )
        optimum = Cell("unknown") if references.optimum is None else fixed(references.optimum)
        rows.append([Cell(f"optimum{where}"), *[unknown] * 3, optimum, *[unknown] * 5])
    return rows


def _groups(runs: Sequence[ReportedRun], evaluations: Sequence[Evaluation]) -> Table | None:
    """Seeds of the same settings of a run, each with its mean over episodes."""
    usual = [one for one in evaluations if one.result.references is not None]
    rows = []
    for run, group in [(one, group) for one in runs for group in _groups_of(one, usual)]:
        if group.episode_return is None:  # in several environments
            continue
        members = [one for one in usual if one.result.source.name in group.names]
        params = members[0].trial.summary.params
        total = sum(trial.summary.params == params for trial in run.trials)
        few = f"{len(members)} of {total}"  # the others are not among the best of the run
        estimate, success = group.episode_return, group.success_rate
        label = label_of(params) or run.label
        rows.append(
            [
                Cell(f"{run.label}: {label}" if len(runs) > 1 else label),
                count(len(members)) if len(members) == total else Cell(few, len(members)),
                fixed(estimate.interquartile_mean),
                interval(estimate.interquartile_mean_interval_95),
                fixed(estimate.mean),
                Cell("not told") if success is None else percent(success.mean),
                percent_interval(success.interquartile_mean_interval_95 if success else None),
            ]
        )
    columns = (
        "settings",
        "seeds",
        "interquartile mean",
        "95 % interval",
        "mean",
        "success rate",
        "success interval",
    )
    title = "Seeds of the same settings, evaluated (sampled; DQN greedy): bootstrap over seeds"
    return Table(title, columns, rows) if rows else None


def _groups_of(run: ReportedRun, usual: Sequence[Evaluation]) -> list[EvaluationGroup]:
    own = [one for one in usual if one.run is run]
    return group_results([one.result for one in own], [one.trained.config for one in own])


def _details(runs: Sequence[ReportedRun], evaluations: Sequence[Evaluation]) -> Table | None:
    """Policies and agents of the best trials, where there is more than one of either."""
    rows = []
    for one in evaluations:
        if not one.is_best and len(one.run.trials) > 1:
            continue
        result = one.result
        of_policies = {f"policy {name}": e for name, e in result.policy_return.items()}
        if set(result.policy_return) == set(result.agent_return):
            of_policies = {}  # one agent each: the same numbers
        for name, estimate in [*of_policies.items(), *result.agent_return.items()]:
            actions = "greedy" if result.protocol.greedy else "sampled"
            heading = trial_label(one.run, one.trial, len(runs) > 1)
            mean, ends = fixed(estimate.mean), interval(estimate.interval_95)
            rows.append([Cell(heading), Cell(name), Cell(actions), mean, ends])
    if len(rows) <= len({id(one.run) for one in evaluations}):
        return None
    columns = ("trial", "whose", "actions", "return", "95 % interval")
    return Table("Best trials: returns of single policies and agents", columns, rows)
