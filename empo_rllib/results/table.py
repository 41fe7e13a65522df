"""Evaluations as people read them on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from empo_rllib.results.evaluation import (
    EvaluationResult,
    Protocol,
    RandomReference,
    References,
    describe_cut,
    references_by_env,
)
from empo_rllib.results.labels import label_of
from empo_rllib.results.runs import EvaluationGroup, RunEvaluation, RunsEvaluation
from empo_rllib.statistics import Estimate, GroupEstimate

_STUCK = (
    "A greedy policy repeats itself: where its most likely action changes nothing, it "
    "is stuck.\nCompare with --sampled."
)

_SAME_SEED = (
    "Runs of the same settings and the same seed are no sample of seeds, and are not joined."
)

_BEST = "Best: by tune.metric, in training."

_INTERVALS = (
    "95 % intervals. Runs: bootstrap of the mean over episodes, Wilson for success.\n"
    "Seeds: stratified bootstrap over runs, of the interquartile mean (IQM)."
)


def render_result(result: EvaluationResult | RunsEvaluation) -> RenderableType:
    """Returns one evaluation, or a row for each of several runs or trials."""
    if isinstance(result, RunEvaluation):
        return render_runs(result.every_trial, result.source.run)
    return render_runs(result) if isinstance(result, RunsEvaluation) else render_evaluation(result)


def render_evaluation(result: EvaluationResult) -> RenderableType:
    """Returns the protocol, a table of the estimates and what to keep in mind."""
    protocol = result.protocol
    lines: list[RenderableType] = [
        Text(f"{protocol.env['id']}: {_how(protocol)}"),
        Text(protocol.checkpoint, style="dim", overflow="fold"),
        Text(),
        _table(result),
    ]
    return Group(*lines, *_remarks([result]))


def render_runs(evaluation: RunsEvaluation, folder: str = "") -> RenderableType:
    """Returns the protocol, a row for each run and group, and what to keep in mind.

    Args:
        evaluation: of the runs.
        folder: the run folder, where all of them are its trials.
    """
    runs = evaluation.runs
    ids = list(dict.fromkeys(run.protocol.env["id"] for run in runs))
    lines: list[RenderableType] = [
        Text(f"{', '.join(ids)}: {_how(*(run.protocol for run in runs))}"),
        *([Text(folder, style="dim", overflow="fold")] if folder else []),
        Text(),
        _runs_table(evaluation),
    ]
    if evaluation.best:
        lines.append(Text(_BEST))
    if evaluation.groups:
        lines.append(Text(_INTERVALS))
    if evaluation.same_seed:
        lines.append(Text(_SAME_SEED))
    if evaluation.left_out:
        lines.append(render_left_out(evaluation.left_out))
    return Group(*lines, *_remarks(runs))


def render_left_out(names: Sequence[str]) -> Text:
    """Returns a sentence about trials that could not play."""
    return Text(f"Left out, without a checkpoint: {', '.join(names)}.")


def new_table(*titles: str) -> Table:
    """Returns an empty table whose first column has no title, and whose others hold numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", overflow="fold")
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _how(protocol: Protocol, *others: Protocol) -> str:
    ways = {one.greedy: "greedy" if one.greedy else "sampled" for one in (protocol, *others)}
    actions = f"{' or '.join(ways.values())} actions"
    changed = "".join(f", {setting}" for setting in protocol.settings)
    return f"{protocol.episodes} episodes, {actions}, seed {protocol.seed}{changed}"


def _remarks(results: Sequence[EvaluationResult]) -> list[RenderableType]:
    greedy = [result for result in results if result.protocol.greedy]
    failed = any(r.success_rate is not None and r.success_rate < 1 for r in greedy)
    remarks = [_STUCK] if failed else []
    if cut := describe_cut(results):
        remarks.append(cut)
    return [Text(remark) for remark in remarks]


def _table(result: EvaluationResult) -> Table:
    table = new_table("mean", "95 % interval", "interquartile mean")
    table.add_row("return", *_cells(result.episode_return, 3))
    if set(result.policy_return) != set(result.agent_return):
        for policy, estimate in result.policy_return.items():
            table.add_row(f"  policy {policy}", *_cells(estimate, 3))
    if len(result.agent_return) > 1:
        for agent, estimate in result.agent_return.items():
            table.add_row(f"  {agent}", *_cells(estimate, 3))
    if result.references is not None:
        _add_references(table, result.references)
    table.add_row("episode length", *_cells(result.episode_length, 1))
    for agent, estimate in result.agent_length.items():
        if estimate != result.episode_length:
            table.add_row(f"  {agent}", *_cells(estimate, 1))
    interval = result.success_interval_95
    ends = "" if interval is None else " – ".join(f"{end:.0%}" for end in interval)
    told = "not told by this env" if result.success_rate is None else _share(result.success_rate)
    table.add_row("success rate", told, ends)
    return table


def _add_references(table: Table, references: References) -> None:
    table.add_row("  random policy", *_cells(references.random_policy.episode_return, 3))
    table.add_row("  optimum", _optimum(references))


def _runs_table(evaluation: RunsEvaluation) -> Table:
    table = new_table("return", "95 % interval", "IQM", "length", "success", "interval")
    for run in evaluation.runs:
        name = _with_params(run.source.name, run.source.params)
        table.add_row(
            f"{name}, best" if run.source.name in evaluation.best else name,
            *_cells(run.episode_return, 3),
            f"{run.episode_length.mean:.1f}",
            *_share_cells(run.success_rate, run.success_interval_95),
        )
    for group in evaluation.groups:
        table.add_section()
        _add_group(table, group)
    _add_references_of_runs(table, evaluation.runs)
    return table


def _add_group(table: Table, group: EvaluationGroup) -> None:
    """Adds what a group comes to; its intervals are of the interquartile mean over runs."""
    length = "–" if group.episode_length is None else f"{group.episode_length.mean:.1f}"
    rate = group.success_rate
    success = (
        _share_cells(None, None)
        if rate is None
        else _share_cells(rate.mean, rate.interquartile_mean_interval_95)
    )
    if group.episode_return is not None:
        name = _with_params(f"{len(group.names)} seeds", group.params)
        table.add_row(name, *_group_cells(group.episode_return), length, *success)
        return
    name = f"{len(group.names)} runs, {group.num_envs} envs"
    if group.normalised_return is not None:
        name += ": 0 random, 1 optimum"
    table.add_row(name, *_group_cells(group.normalised_return), length, *success)


def _add_references_of_runs(table: Table, runs: Sequence[EvaluationResult]) -> None:
    for where, references in references_by_env(runs):
        _add_random_row(table, f"random policy{where}", references.random_policy)
        table.add_row(f"optimum{where}", _optimum(references))


def _add_random_row(table: Table, name: str, reference: RandomReference) -> None:
    length = f"{reference.episode_length.mean:.1f}"
    cells = _cells(reference.episode_return, 3)
    success = _share_cells(reference.success_rate, reference.success_interval_95)
    table.add_row(name, *cells, length, *success)


def _optimum(references: References) -> str:
    return "unknown" if references.optimum is None else f"{references.optimum:.3f}"


def _with_params(name: str, params: Mapping[str, Any] | None) -> str:
    return f"{name}: {label_of(params)}" if params else name


def _share(rate: float | None) -> str:
    return "–" if rate is None else f"{rate:.0%}"


def _share_cells(rate: float | None, ends: tuple[float, float] | None) -> tuple[str, str]:
    between = "–" if ends is None else f"{100 * ends[0]:.0f}–{100 * ends[1]:.0f}%"
    return _share(rate), between


def _cells(estimate: Estimate, digits: int) -> tuple[str, str, str]:
    between = _between(estimate, digits)
    return f"{estimate.mean:.{digits}f}", between, f"{estimate.interquartile_mean:.{digits}f}"


def _group_cells(estimate: GroupEstimate | None) -> tuple[str, str, str]:
    if estimate is None:
        return "–", "–", "–"
    return f"{estimate.mean:.3f}", _between(estimate, 3), f"{estimate.interquartile_mean:.3f}"


def _between(estimate: Estimate | GroupEstimate, digits: int) -> str:
    if estimate.low is None or estimate.high is None:
        return "–"
    return f"{estimate.low:.{digits}f} – {estimate.high:.{digits}f}"
