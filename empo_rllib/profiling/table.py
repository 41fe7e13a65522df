"""A profile as people read it on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from empo_rllib.profiling.measure import TRIAL, Measured
from empo_rllib.profiling.phases import PHASES
from empo_rllib.profiling.profile import Profile, Tried

WAITING = "waiting"
# What takes less is in nobody's way.
_LEAST_SHARE = 0.002
_MILLI = 1e3


def render_profile(profile: Profile) -> RenderableType:
    """Returns where the time goes, what the machine does meanwhile, and what would help."""
    measured = profile.measured
    per_iteration = measured.seconds / measured.iterations
    parts: list[RenderableType] = [
        Text(profile.name, style="bold"),
        Text(f"sampler: {profile.sampler}"),
        *(Text(f"network of {policy}: {how}") for policy, how in profile.networks.items()),
        Text(),
        Text(
            f"an iteration takes {per_iteration * _MILLI:,.0f} ms for "
            f"{measured.env_steps / measured.iterations:,.0f} env steps: "
            f"{measured.env_steps_per_s:,.0f} env steps/s (mean of {measured.iterations})"
        ),
        _phases(measured),
        Text(),
        *_machine(profile),
    ]
    if profile.again is not None:
        parts += [Text(), _settings(profile, profile.again), *_notes(profile.tried)]
    return Group(*parts)


def _phases(measured: Measured) -> Table:
    table = _grid()
    names = [_title(measured, kind) for kind in measured.processes]
    table.add_row("", *(Text(name, justify="right") for name in names), style="bold")
    for phase in PHASES:
        seconds = [_in_phase(measured, kind, phase) for kind in measured.processes]
        walls = [times.wall_s for times in measured.processes.values()]
        if any(s > _LEAST_SHARE * wall for s, wall in zip(seconds, walls, strict=True)):
            cells = [_cell(s, wall) for s, wall in zip(seconds, walls, strict=True)]
            table.add_row(f"  {phase}", *cells)
    return table


def _title(measured: Measured, kind: str) -> str:
    count = measured.counts[kind]
    return kind if count == 1 else f"each of {count} {kind}s"


def _in_phase(measured: Measured, kind: str, phase: str) -> float:
    """A process that nobody asks for anything waits; the trial's own is always in some phase."""
    times = measured.processes[kind]
    seconds = times.phases.get(phase, 0.0)
    if phase == WAITING and kind != TRIAL:
        seconds += max(0.0, times.wall_s - sum(times.phases.values()))
    return seconds


def _cell(seconds: float, wall_s: float) -> Text:
    if seconds <= _LEAST_SHARE * wall_s:
        return Text("")
    return Text(f"{seconds * _MILLI:,.1f} ms {seconds / wall_s:4.0%}", justify="right")


def _machine(profile: Profile) -> Iterator[RenderableType]:
    measured = profile.measured
    busy = {
        kind: measured.counts[kind] * times.cpu_s / times.wall_s
        for kind, times in measured.processes.items()
    }
    shares = ", ".join(f"{_title(measured, kind)} {share:.2f}" for kind, share in busy.items())
    yield Text(f"cores     {sum(busy.values()):.2f} of {profile.cpus} busy ({shares})")
    floor = measured.arithmetic.floor_s
    speed = f"{measured.arithmetic.flop_per_s / 1e9:,.0f} GFLOP/s"
    if floor is None:
        yield Text(f"products  not counted for this algorithm; one core here does {speed}")
    else:
        share = floor * measured.iterations / measured.seconds
        yield Text(
            f"products  {floor * _MILLI:,.1f} ms at the {speed} of one core here, as if nothing "
            f"were saved but equal observations: {share:.0%} of the iteration"
        )


def _settings(profile: Profile, again: float) -> Table:
    table = _grid()
    title = Text("with other settings, measured", style="bold")
    table.add_row(title, Text("env steps/s", justify="right"))
    rows = [(f"{one.setting.override} (is {one.setting.before})", one) for one in profile.tried]
    speeds = [(text, one.env_steps_per_s) for text, one in rows if one.env_steps_per_s is not None]
    for text, speed in [*speeds, ("as it is, again", again)]:
        ratio = speed / profile.measured.env_steps_per_s
        table.add_row(f"  {text}", Text(f"{speed:,.0f}", justify="right"), f"{ratio:.2f}x")
    return table


def _notes(tried: tuple[Tried, ...]) -> Iterator[RenderableType]:
    """What else settings mean, and which of them cannot be."""
    changes = {one.setting.key: one.setting.changes for one in tried if one.setting.changes}
    yield from (Text(f"{key}: also {what}", style="dim") for key, what in changes.items())
    for one in tried:
        if one.env_steps_per_s is None:
            yield Text(f"{one.setting.override} cannot be: {' '.join(one.reason.split())}")


def _grid() -> Table:
    return Table.grid(padding=(0, 2))
