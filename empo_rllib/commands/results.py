"""The commands that read run folders: `evaluate`, `crossplay`, `record` and `report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from empo_rllib.command_line import echo
from empo_rllib.commands.options import (
    CheckpointOption,
    GreedyOption,
    JsonOption,
    RunArgument,
    RunsArgument,
    SeedOption,
)
from empo_rllib.commands.prepare import find_runs, open_no_window, working_with_ray

if TYPE_CHECKING:
    from rich.console import RenderableType

    from empo_rllib.results.evaluation import EvaluationResult
    from empo_rllib.results.runs import RunsEvaluation

_Episodes = Annotated[int, typer.Option(help="How many to play.")]
_Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Play in another environment: env.kwargs.size=16; repeatable.",
    ),
]
_References = Annotated[
    bool,
    typer.Option(
        "--references/--no-references",
        help="Also play the random policy and search for the optimum.",
    ),
]
_Out = Annotated[
    Path | None,
    typer.Option(metavar="FILE.json", help="Also write the JSON to a file.", show_default=False),
]
_Figure = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Draw a heat map: a file ending in .png or .svg.", show_default=False
    ),
]


def evaluate(
    runs: RunsArgument,
    episodes: _Episodes = 100,
    seed: SeedOption = 0,
    greedy: GreedyOption = None,
    settings: _Settings = None,
    references: _References = True,
    checkpoint: CheckpointOption = "last",
    json: JsonOption = False,
    out: _Out = None,
) -> None:
    """Play episodes and print return, success rate and length, with their uncertainty.

    Each episode runs to its end. The same arguments give the same numbers. Every
    trial of a run folder plays. Trials that differ only in the seed are summed up.
    """
    from empo_rllib.results.evaluate import check_protocol, evaluate, evaluate_runs
    from empo_rllib.results.table import render_result

    check_protocol(episodes, seed)
    out = _checked("--out", out, ".json")
    found = find_runs(runs, settings or [], checkpoint)
    trials = sum(len(run.trials) for run in found)
    protocol = episodes, seed, greedy, settings or [], references
    result: EvaluationResult | RunsEvaluation
    with working_with_ray(f"Playing {_count(episodes)} with {_count(trials, 'trial')}") as tell:
        result = (
            evaluate(found[0], *protocol, tell=tell)
            if len(found) == 1
            else evaluate_runs(found, *protocol, tell=tell)
        )
    _report(result.to_json(), render_result(result), json, out)


def crossplay(
    runs: RunsArgument,
    episodes: _Episodes = 100,
    seed: SeedOption = 0,
    greedy: GreedyOption = None,
    settings: _Settings = None,
    checkpoint: CheckpointOption = "last",
    json: JsonOption = False,
    out: _Out = None,
    figure: _Figure = None,
) -> None:
    """Play the policies of several runs with each other, and each with random partners.

    Rows play the first agent (or those of the first policy), columns all others.
    Drop: what a player earns with itself less what it earns with others.
    """
    from empo_rllib.results.crossplay import check_players, crossplay
    from empo_rllib.results.crossplay_table import render_crossplay
    from empo_rllib.results.evaluate import check_protocol
    from empo_rllib.results.find import trial_names
    from empo_rllib.results.heat_map import draw_crossplay
    from empo_rllib.results.output import write_output
    from empo_rllib.results.settings import with_settings

    check_protocol(episodes, seed)
    out = _checked("--out", out, ".json")
    figure = _checked("--figure", figure, ".png", ".svg")
    found = find_runs(runs, settings or [], checkpoint)
    trained = [one for run in found for one in run.trials]
    configs = [with_settings(one.config, settings or []) for one in trained]
    check_players(configs, trial_names(found).played)
    with working_with_ray(f"Loading the policies of {_count(len(trained), 'trial')}") as tell:
        result = crossplay(found, episodes, seed, greedy, settings or [], tell)
    if figure is not None:
        write_output("--figure", figure, draw_crossplay(result, figure.suffix.lower()))
    _report(result.to_json(), render_crossplay(result), json, out)


def record(
    run: RunArgument,
    out: Annotated[
        Path, typer.Option(help="The video: a file ending in .gif or .mp4.", show_default=False)
    ],
    episodes: Annotated[int, typer.Option(help="How many to record.")] = 3,
    seed: SeedOption = 0,
    greedy: GreedyOption = None,
    fps: Annotated[
        float | None,
        typer.Option(
            help="Env steps per second; default: 5 for MultiGrid, the environment's own for others."
        ),
    ] = None,
    checkpoint: CheckpointOption = "last",
) -> None:
    """Record a video of episodes.

    The caption gives the step, each agent's last action and return so far, and the outcome.
    """
    from empo_rllib.experiment.run_folder import locate
    from empo_rllib.results.evaluate import check_protocol
    from empo_rllib.results.film import check_film
    from empo_rllib.results.record import record

    check_protocol(episodes, seed)
    check_film(out.expanduser(), fps)
    trained = locate(run, checkpoint)
    open_no_window()
    with working_with_ray(f"Recording {_count(episodes)}") as tell:
        num_frames = record(
            trained, out, episodes=episodes, seed=seed, greedy=greedy, fps=fps, tell=tell
        )
    echo(f"{out}: {_count(episodes)}, {num_frames} frames")


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Run folders.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option(help="The report: a file ending in .html.", show_default=False)
    ],
    episodes: Annotated[
        int, typer.Option(help="How many each trial plays; 0: none, only what is on disk.")
    ] = 100,
    seed: SeedOption = 0,
    crossplay: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What `crossplay` has written, to be shown too."),
    ] = None,
) -> None:
    """Write one HTML file about runs: curves, evaluation, hyperparameters, films.

    It needs no network and runs no code from a checkpoint.
    """
    open_no_window()
    with working_with_ray(f"Reading {_count(len(runs), 'run')}") as tell:
        from empo_rllib.results.report.write import write_report

        written = write_report(runs, out, episodes, seed, crossplay, tell)
    echo(f"{out}: {written}")


def _checked(option: str, path: Path | None, *suffixes: str) -> Path | None:
    """Returns the path of a file that can be written, or None where none was asked for."""
    from empo_rllib.results.output import check_output

    if path is None:
        return None
    check_output(option, path.expanduser(), suffixes)
    return path.expanduser()


def _report(text: str, table: RenderableType, json: bool, out: Path | None) -> None:
    from empo_rllib.console import PrintableConsole
    from empo_rllib.results.output import write_output

    if out is not None:
        write_output("--out", out, text + "\n")
    if json:
        echo(text)
    else:
        PrintableConsole().print(table)


def _count(number: int, noun: str = "episode") -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"
