"""A report as people read it on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from empo_rllib.doctor.findings import Finding
from empo_rllib.doctor.report import RandomPlay, Report, Spread
from empo_rllib.doctor.times import Times

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_FEW = 4


def render_report(report: Report) -> RenderableType:
    """Returns the findings, the summary and the verdict."""
    parts: list[RenderableType] = [Text(_title(report), style="bold")]
    for finding in report.findings:
        parts += [Text(), *_finding(finding)]
    parts += [Text(), *_summary(report)]
    if report.suggestions:
        parts += [Text(), Text("suggested settings", style="bold")]
        for suggestion in report.suggestions:
            parts += [Text(f"  {suggestion.option}"), _indented(suggestion.reason, 6)]
    return Group(*parts, Text(), Text(_verdict(report), style="bold"))


def _title(report: Report) -> str:
    kwargs = "".join(f" {key}={value}" for key, value in report.env["kwargs"].items())
    return f"{report.env['id']}{kwargs}"


def _finding(finding: Finding) -> Iterator[RenderableType]:
    times = f"  ({finding.count:,} times)" if finding.count > 1 else ""
    yield Text.assemble(
        (finding.level, _STYLES[finding.level]), "  ", (finding.name, "bold"), (times, "dim")
    )
    grid = _grid()
    grid.add_row("  seen", Text(finding.seen))
    grid.add_row("  rule", Text(finding.rule))
    grid.add_row("  cure", Text(finding.cure))
    if finding.place:
        grid.add_row("  line", Text(finding.place, overflow="fold"))
    yield grid


def _summary(report: Report) -> Iterator[RenderableType]:
    grid = _grid()
    for spaces in report.spaces:
        grid.add_row("agents", Text(_names(spaces.agents)))
        grid.add_row("  observe", Text(spaces.observation_space))
        grid.add_row("  dtypes", Text(", ".join(spaces.dtypes)))
        grid.add_row("  act", Text(spaces.action_space))
    if report.sampler:
        grid.add_row("sampler", Text(f"{report.sampler} ({report.sampler_reason})"))
    elif report.sampler_reason:
        grid.add_row("sampler", Text(f"none: {report.sampler_reason}"))
    yield grid
    if report.random_policy:
        yield Text()
        yield _random_policy(report.random_policy)
    if report.times:
        yield Text()
        yield _times(report.times)
    if report.hotspots:
        yield Text()
        yield _hotspots(report)


def _random_policy(played: RandomPlay) -> RenderableType:
    title = f"random policy, {played.env_steps:,} env steps"
    if played.episode_length is None:
        return Text(f"{title}: no episode ended")
    table = _numbers(title, "n", "mean", "min", "max")
    table.add_row("  episode length", *_cells(played.episode_length, 0))
    table.add_row("  return", *_cells(played.episode_return, 3))
    if 1 < len(played.agent_return) <= _FEW:
        for agent, spread in played.agent_return.items():
            table.add_row(f"    {agent}", *_cells(spread, 3))
    return table


def _cells(spread: Spread | None, digits: int) -> tuple[str, ...]:
    if spread is None:
        return ()
    numbers = (f"{value:.{digits}f}" for value in (spread.mean, spread.min, spread.max))
    return str(spread.n), *numbers


def _times(times: Times) -> RenderableType:
    table = _numbers("time", "median, µs")
    for what, value in (
        ("env step", times.env_step_us),
        ("observations into the sampler's arrays", times.arrays_us),
        ("observations one-hot and flat (DQN, SAC)", times.flat_us),
        ("reset", times.reset_us),
        ("making a copy", times.make_us),
    ):
        table.add_row(f"  {what}", "–" if value is None else f"{value:,.1f}")
    return table


def _hotspots(report: Report) -> RenderableType:
    table = _numbers("inside a step (profiled)", "share")
    table.add_column("line")
    for spot in report.hotspots:
        table.add_row(f"  {spot.function}", f"{spot.share:.0%}", Text(Path(spot.place).name))
    return table


def _numbers(title: str, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="none")
    table.add_column(Text(title), overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _indented(text: str, width: int) -> RenderableType:
    grid = Table.grid()
    grid.add_column(width=width)
    grid.add_column()
    grid.add_row("", Text(text))
    return grid


def _names(agents: tuple[str, ...]) -> str:
    if len(agents) <= _FEW:
        return ", ".join(agents)
    return f"{agents[0]} .. {agents[-1]} ({len(agents)})"


def _verdict(report: Report) -> str:
    levels = ("error", "warning", "note")
    counts = {level: report.count(level) for level in levels}
    return ", ".join(f"{n} {level}{'' if n == 1 else 's'}" for level, n in counts.items())
