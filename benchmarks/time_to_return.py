"""How long it takes to learn, ours against stock, over seeds.

    python -m benchmarks.time_to_return             seconds and env steps to the main job's return
    python -m benchmarks.time_to_return --curves    returns against env steps, and whether they
                                                    are the same

Each run is a fresh process whose result is kept in
`benchmarks/results/time_to_return/<study>/`; a command given again does only what is missing.
Seconds can be compared only when one run has the machine for itself: `--jobs 1`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.curves import Comparison, compare, steps_to
from benchmarks.machine import describe_machine
from benchmarks.measure import measure
from benchmarks.studies import OURS, Study, curve_studies, time_study
from benchmarks.summary import Table, wide_console

RESULTS = Path("benchmarks/results/time_to_return")
TRAINING_BAR_S = 20.0
_KEPT = ("env_steps", "time_s", "episode_return_mean", "success_rate")

Runs = Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]
"""Rows of each seed, by set-up."""


def main(
    curves: Annotated[bool, typer.Option("--curves", help="Compare learning curves.")] = False,
    study: Annotated[list[str] | None, typer.Option(help="Of the curves; all by default.")] = None,
    seeds: Annotated[int, typer.Option(min=2, help="0 to this less one.")] = 5,
    env_steps: Annotated[int | None, typer.Option(min=1, help="Length of the curves.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = RESULTS,
) -> None:
    """Train over seeds, ours and stock, and compare."""
    known = curve_studies(env_steps)
    unknown = [name for name in study or () if name not in known]
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: not one of {', '.join(known)}")
    chosen = (
        {name: known[name] for name in study or known} if curves else {"empty-8x8": time_study()}
    )
    console = wide_console()
    for name, what in chosen.items():
        train_missing(console, what, out / name, seeds, jobs)
        runs = load_runs(what, out / name, seeds)
        table = (
            sameness_table({what.title: comparison(what, runs)})
            if curves
            else times_table(what, runs)
        )
        console.print(f"\n[bold]{name}[/]: {what.title}")
        console.print(table.to_rich())


def train_missing(console: Console, study: Study, folder: Path, seeds: int, jobs: int) -> None:
    """Trains what has no result yet, seed by seed so that partial results can be compared."""
    todo = [
        (setup, seed)
        for seed in range(seeds)
        for setup in study.experiments
        if not _is_there(study, result_file(folder, setup, seed))
    ]

    def train(run: tuple[str, int]) -> None:
        setup, seed = run
        machine = describe_machine()
        measured = measure(study.task(setup, seed))
        rows = [{key: row.get(key) for key in _KEPT} for row in measured.pop("rows")]
        report = {"setup": setup, "seed": seed, "jobs": jobs, "machine": machine, **measured}
        path = result_file(folder, setup, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**report, "rows": rows}) + "\n")
        console.print(f"  {folder.name}, {setup}, seed {seed}: {_render(rows[-1])}")

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(train, todo))


def _render(row: Mapping[str, Any]) -> str:
    result = row["episode_return_mean"]
    reached = "no episode ended" if result is None else f"return {result:.3f}"
    return f"{reached} after {row['env_steps']:,} env steps, {row['time_s']:.1f} s"


def _is_there(study: Study, path: Path) -> bool:
    """Whether the run has a result that is as long as the study wants it."""
    if not path.exists():
        return False
    return json.loads(path.read_text())["rows"][-1]["env_steps"] >= (study.env_steps or 0)


def result_file(folder: Path, setup: str, seed: int) -> Path:
    """Returns where the result of one run is kept."""
    return folder / f"{setup.replace(', ', '-').replace(' ', '-')}-seed{seed}.json"


def load_runs(study: Study, folder: Path, seeds: int) -> Runs:
    """Reads the runs that are there."""
    files = {
        setup: [result_file(folder, setup, seed) for seed in range(seeds)]
        for setup in study.experiments
    }
    return {
        setup: [json.loads(file.read_text())["rows"] for file in found if file.exists()]
        for setup, found in files.items()
    }


def shortest(runs: Runs) -> int:
    """Returns the env steps that every run has."""
    return min(rows[-1]["env_steps"] for seeds in runs.values() for rows in seeds)


def times_table(study: Study, runs: Runs) -> Table:
    """Returns medians over the seeds of seconds and env steps to the return."""
    assert study.episode_return is not None
    rows = []
    for setup, seeds in runs.items():
        reached = [row for row in (steps_to(s, study.episode_return) for s in seeds) if row]
        if not reached:
            continue
        seconds = [row["time_s"] for row in reached]
        env_steps = [row["env_steps"] for row in reached]
        bar = f"< {TRAINING_BAR_S:g}" if setup == OURS else ""
        rows.append(
            (
                setup,
                f"{len(reached)} of {len(seeds)}",
                bar,
                f"{median(seconds):.1f}",
                f"{min(seconds):.1f} – {max(seconds):.1f}",
                f"{median(env_steps):,.0f}",
                f"{min(env_steps):,.0f} – {max(env_steps):,.0f}",
            )
        )
    header = ("set-up", "seeds there", "bar, s", "seconds", "range", "env steps", "range")
    return Table(header, tuple(rows))


def comparison(study: Study, runs: Runs) -> Comparison:
    """Compares ours with stock, as far as every run goes."""
    (theirs,) = (setup for setup in study.experiments if setup != OURS)
    return compare(runs[OURS], runs[theirs], shortest(runs))


def sameness_table(comparisons: Mapping[str, Comparison]) -> Table:
    """Returns one row per study: ours less stock."""
    rows = []
    for title, compared in comparisons.items():
        area, final = compared.area, compared.at_checkpoints
        rows.append(
            (
                title,
                f"{area.mean:+.3f} ({area.low:+.3f} to {area.high:+.3f})",
                f"{final.mean[-1]:+.3f} ({final.low[-1]:+.3f} to {final.high[-1]:+.3f})",
                f"{compared.same_checkpoints} of {len(compared.env_steps)}",
                "yes" if compared.same_area else "no",
            )
        )
    header = (
        "ours less stock",
        "mean return over training (95 %)",
        "return at the end (95 %)",
        "checkpoints with 0 inside",
        "same",
    )
    return Table(header, tuple(rows))


if __name__ == "__main__":
    typer.run(main)
