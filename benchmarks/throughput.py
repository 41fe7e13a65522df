"""Env steps a second, end to end, of this package and of stock RLlib, alternating in one run.

    python -m benchmarks.throughput [--scenario empty-8x8 ...] [--repeats 3] [--quick]

Every measurement is a fresh process. The rate is the median over training iterations 2 to 15 from
random weights, so that compilation is not in it; ratios are taken within a repeat. Results go to
`benchmarks/results/throughput/<scenario>.json`, written anew after every measurement.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.machine import describe_machine, render_machine
from benchmarks.measure import measure
from benchmarks.scenarios import Scenario, load_scenarios
from benchmarks.stock import STOCK_ENVS, stock_name
from benchmarks.summary import bars_table, figures, setups_table, wide_console

RESULTS = Path("benchmarks/results/throughput")
QUICK_ITERATIONS = 6


def main(
    scenario: Annotated[list[str] | None, typer.Option(help="Which; all by default.")] = None,
    repeats: Annotated[int, typer.Option(min=1)] = 3,
    iterations: Annotated[int, typer.Option(min=2, help="The last one that counts.")] = 15,
    quick: Annotated[
        bool, typer.Option("--quick", help="One repeat of iterations 2 to 6.")
    ] = False,
    torch_threads: Annotated[int, typer.Option(min=1, help="Of every training process.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = RESULTS,
) -> None:
    """Measure and compare env steps a second."""
    if quick:
        repeats, iterations = 1, min(iterations, QUICK_ITERATIONS)
    known = load_scenarios()
    unknown = [name for name in scenario or () if name not in known]
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: not one of {', '.join(known)}")
    for name in scenario or known:
        _run(name, known[name].limited(iterations, torch_threads), repeats, out)


def measure_stock() -> None:
    """Measures stock RLlib alone on the main job, once."""
    scenario = load_scenarios()["empty-8x8"].limited(QUICK_ITERATIONS, torch_threads=1)
    console = wide_console()
    measurements = [_measure(console, scenario, stock_name(num_envs), 0) for num_envs in STOCK_ENVS]
    console.print(setups_table(scenario, measurements).to_rich())


def _run(name: str, scenario: Scenario, repeats: int, out: Path) -> None:
    console = wide_console()
    machine = describe_machine()
    console.print(f"\n[bold]{name}[/]: {scenario.text}\n{render_machine(machine)}")
    measurements: list[dict[str, Any]] = []
    for repeat in range(repeats):
        setups = list(scenario.tasks)
        # To and fro, so that a drift of the machine's speed favours nobody.
        for setup in setups if repeat % 2 == 0 else reversed(setups):
            measurements.append(_measure(console, scenario, setup, repeat))
            _write(out / f"{name}.json", scenario, machine, measurements)
    console.print()
    console.print(setups_table(scenario, measurements).to_rich())
    console.print(bars_table(scenario, measurements).to_rich())


def _measure(console: Console, scenario: Scenario, setup: str, repeat: int) -> dict[str, Any]:
    with console.status(f"repeat {repeat + 1}: {setup}"):
        measured = {"setup": setup, "repeat": repeat, **measure(scenario.tasks[setup])}
    rate = figures(measured, scenario.window)["env_steps_per_s"]
    console.print(
        f"  repeat {repeat + 1}, {setup}: {rate:,.0f} env steps/s, load {measured['load']}"
    )
    return measured


def _write(
    path: Path, scenario: Scenario, machine: dict[str, Any], measurements: list[dict[str, Any]]
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    threads = next(iter(scenario.tasks.values())).torch_threads
    report = {
        "machine": {**machine, "torch_threads": threads},
        "window": scenario.window,
        "measurements": measurements,
    }
    path.write_text(json.dumps(report) + "\n")


if __name__ == "__main__":
    typer.run(main)
