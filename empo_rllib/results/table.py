"""An evaluation as people read it on a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from empo_rllib.results.evaluate import EvaluationResult
from empo_rllib.results.statistics import Estimate


def render_evaluation(result: EvaluationResult) -> RenderableType:
    """Returns the protocol, a table of the estimates and what to keep in mind."""
    protocol = result.protocol
    how = "greedy actions" if protocol.greedy else "sampled actions"
    lines: list[RenderableType] = [
        Text(f"{protocol.env['id']}: {protocol.episodes} episodes, {how}, seed {protocol.seed}"),
        Text(protocol.checkpoint, style="dim", overflow="fold"),
        Text(),
        _table(result),
    ]
    if protocol.greedy and result.success_rate is not None and result.success_rate < 1:
        lines.append(
            Text(
                "A greedy policy repeats itself: where its most likely action changes nothing, it "
                "is stuck.\nCompare with --sampled."
            )
        )
    return Group(*lines)


def _table(result: EvaluationResult) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    for title in ("mean", "95 % interval", "interquartile mean"):
        table.add_column(title, justify="right")
    table.add_row("return", *_cells(result.episode_return, 3))
    if set(result.policy_return) != set(result.agent_return):
        for policy, estimate in result.policy_return.items():
            table.add_row(f"  policy {policy}", *_cells(estimate, 3))
    if len(result.agent_return) > 1:
        for agent, estimate in result.agent_return.items():
            table.add_row(f"  {agent}", *_cells(estimate, 3))
    table.add_row("episode length", *_cells(result.episode_length, 1))
    rate = "not told by this env" if result.success_rate is None else f"{result.success_rate:.0%}"
    table.add_row("success rate", rate)
    return table


def _cells(estimate: Estimate, digits: int) -> tuple[str, str, str]:
    interval = estimate.interval_95
    between = "–" if interval is None else " – ".join(f"{end:.{digits}f}" for end in interval)
    return f"{estimate.mean:.{digits}f}", between, f"{estimate.interquartile_mean:.{digits}f}"
