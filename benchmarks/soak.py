"""The memory of every process of a run that trains for hours.

    python -m benchmarks.soak [--minutes 120] [--config tune_configs/ppo.yaml] [--set KEY=VALUE ...]

What counts is memory of a process's own that it has written (`Private_Dirty` of Linux's
`smaps_rollup`: pages of libraries become private when another process that has them ends), each
half minute after the warm-up, and the slope of a straight line through it. Results go to
`benchmarks/results/soak/<name>.json`, written anew after every sample.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.machine import describe_machine
from benchmarks.processes import family, private_mb, program

RESULTS = Path("benchmarks/results/soak")
PERIOD_S = 30.0
WARM_UP = 1 / 6  # of the time
ALLOWED_MB = 1.0  # in ten minutes
TEN_MINUTES_S = 600.0


@dataclass
class Watched:
    """A process.

    Attributes:
        name: Its program, or what Ray calls it.
        private_mb: Seconds since the start, and MB.
    """

    name: str = ""
    private_mb: list[tuple[float, float]] = field(default_factory=list)

    def slope(self, warm_up_s: float) -> float | None:
        """Returns MB in ten minutes after the warm-up, None where too little was seen."""
        warm = [point for point in self.private_mb if point[0] >= warm_up_s]
        if len(warm) < 3:
            return None
        seconds, megabytes = np.array(warm).T
        return float(np.polyfit(seconds, megabytes, 1)[0] * TEN_MINUTES_S)


def main(
    minutes: Annotated[float, typer.Option(min=1)] = 120.0,
    config: Annotated[Path, typer.Option()] = Path("tune_configs/ppo.yaml"),
    changes: Annotated[list[str] | None, typer.Option("--set", help="As `tune` has it.")] = None,
    name: Annotated[str, typer.Option(help="Of the file of results.")] = "ppo",
) -> None:
    """Train for long and look at the memory of every process; exit code 1 where one grows."""
    with tempfile.TemporaryDirectory(prefix="soak-", dir="/tmp") as folder:
        run = Path(folder, "results", "soak")
        command = [sys.executable, "-m", "empo_rllib.tune", "--config", str(config)]
        endless = ("name=soak", f"storage_path={run.parent}", "stop={env_steps: 10000000000}")
        command += [word for change in (*endless, *(changes or ())) for word in ("--set", change)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            watched = _watch(process, minutes * 60, run, name, changes or [])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
    sys.exit(1 if _print(watched, minutes * 60 * WARM_UP) else 0)


def _watch(
    process: subprocess.Popen, duration_s: float, run: Path, name: str, changes: list[str]
) -> list[Watched]:
    watched: dict[int, Watched] = {}
    result = {"machine": describe_machine(), "changes": changes}
    start = time.monotonic()
    while (seconds := time.monotonic() - start) < duration_s:
        if process.poll() is not None:
            raise SystemExit(f"the run ended after {seconds:.0f} s: exit code {process.returncode}")
        for pid in family(process.pid):
            with contextlib.suppress(OSError):  # it has ended
                one = watched.setdefault(pid, Watched())
                one.name = program(pid)
                one.private_mb.append((round(seconds, 1), private_mb(pid)))
        state = {"seconds": round(seconds), "iterations": _num_iterations(run)}
        _write(name, result | state | {"processes": [asdict(one) for one in watched.values()]})
        time.sleep(PERIOD_S)
    return list(watched.values())


def _num_iterations(run: Path) -> int:
    """Returns the rows of the run's trials so far."""
    files = run.glob("trial_*/progress.csv")
    return sum(max(0, file.read_bytes().count(b"\n") - 1) for file in files)


def _write(name: str, result: dict[str, object]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result) + "\n")


def _print(watched: list[Watched], warm_up_s: float) -> bool:
    """Shows those that lived on after the warm-up; returns whether one grows more than it may."""
    table = Table("process", "samples", "MB at the end", "MB in ten minutes")
    slopes = [(one.slope(warm_up_s), one) for one in watched]
    lasting = [(slope, one) for slope, one in slopes if slope is not None]
    for slope, one in sorted(lasting, key=lambda pair: -pair[0]):
        points = one.private_mb
        table.add_row(one.name, str(len(points)), f"{points[-1][1]:.1f}", f"{slope:+.2f}")
    Console().print(table)
    return any(slope >= ALLOWED_MB for slope, _ in lasting)


if __name__ == "__main__":
    typer.run(main)
