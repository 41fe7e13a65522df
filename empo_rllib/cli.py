"""`python -m empo_rllib`: what is done before and after training, and runs on a cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from empo_rllib.command_line import SetOption, reporting_errors
from empo_rllib.results.commands import crossplay, evaluate
from empo_rllib.service.commands import jobs, logs, stop
from empo_rllib.service.submit_command import submit

if TYPE_CHECKING:
    from empo_rllib.experiment.run_folder import TrainedTrial

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Check environments, evaluate and film trained policies, and train on a cluster. "
    "Training here: python -m empo_rllib.tune --help",
)

_Run = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="A run folder (its best trial), a trial (its newest checkpoint) or a checkpoint.",
        show_default=False,
    ),
]
_Seed = Annotated[int, typer.Option(help="Episode i is played with seed + i.")]
_Greedy = Annotated[
    bool,
    typer.Option("--greedy/--sampled", help="Take the most likely actions, or draw them."),
]


app.command()(evaluate)
app.command()(crossplay)


@app.command()
def record(
    run: _Run,
    out: Annotated[
        Path, typer.Option(help="The film: a file ending in .gif or .mp4.", show_default=False)
    ],
    episodes: Annotated[int, typer.Option(help="How many to film.")] = 3,
    seed: _Seed = 0,
    greedy: _Greedy = False,
    fps: Annotated[
        float | None,
        typer.Option(
            help="Env steps per second; default: 5 for MultiGrid, the environment's own for others."
        ),
    ] = None,
) -> None:
    """Film episodes, with each agent's last action and reward so far in a caption."""
    from rich.console import Console

    from empo_rllib.results.evaluate import check_protocol
    from empo_rllib.results.film import check_film
    from empo_rllib.results.record import record

    check_protocol(episodes, seed)
    check_film(out.expanduser(), fps)
    trained = _find(run)
    _open_no_window()
    with Console(stderr=True).status(f"Filming {_count(episodes)}"):
        num_frames = record(trained, out, episodes=episodes, seed=seed, greedy=greedy, fps=fps)
    typer.echo(f"{out}: {_count(episodes)}, {num_frames} frames")


@app.command()
def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Run folders.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option(help="The report: a file ending in .html.", show_default=False)
    ],
    episodes: Annotated[
        int, typer.Option(help="How many each trial plays; 0: none, only what is on disk.")
    ] = 20,
    seed: _Seed = 0,
    crossplay: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What `crossplay` has written, to be shown too."),
    ] = None,
) -> None:
    """Write one HTML file about runs: curves, evaluation, hyperparameters, films.

    It needs no network and runs no code from a checkpoint.
    """
    from rich.console import Console

    from empo_rllib.experiment.cluster import quiet_ray
    from empo_rllib.results.report.write import write_report

    quiet_ray()
    _open_no_window()
    with Console(stderr=True).status("Reading") as status:
        written = write_report(runs, out, episodes, seed, crossplay, status.update)
    typer.echo(f"{out}: {written}")


@app.command()
def doctor(
    env: Annotated[
        str | None,
        typer.Argument(
            metavar="ENV",
            help="What `env.id` may be: MultiGrid-Empty-8x8-v0, sisl/pursuit-v5, "
            "my_package.my_envs:make_maze.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Instead of ENV: an experiment file, whose env is taken."),
    ] = None,
    num_agents: Annotated[
        int | None,
        typer.Option(min=1, help="The number of agents; default: the environment's own."),
    ] = None,
    set_: SetOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Examine an environment before anyone trains in it.

    Plays it with random actions for some ten seconds. Tells what is wrong, with the
    line to change; episode lengths and returns; where the time goes; which sampler
    it gets, and why; settings that follow from all this.

    Exit codes: 0 no errors; 1 errors; 2 it cannot be made, or bad arguments.
    """
    from rich.console import Console

    from empo_rllib.doctor.examine import examine
    from empo_rllib.doctor.experiment import experiment_of
    from empo_rllib.doctor.table import render_report

    experiment = experiment_of(env, config, num_agents, set_ or [])
    _open_no_window()
    with Console(stderr=True).status(f"Examining {experiment.env.id}"):
        report = examine(experiment)
    if json:
        typer.echo(report.to_json())
    else:
        Console(highlight=False).print(render_report(report))
    raise typer.Exit(report.exit_code)


@app.command()
def export(
    run: _Run,
    out: Annotated[Path, typer.Option(help="The bundle's folder.", show_default=False)],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a bundle that is there.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the episodes that the bundle is checked on.")] = 0,
) -> None:
    """Write the policies as a bundle, for use without Ray, torch and this package.

    The bundle appears when it acts as the policies do, on observations of real episodes.
    """
    from rich.console import Console

    from empo_rllib.exporting.export import check_out, export
    from empo_rllib.results.evaluate import check_protocol

    check_protocol(1, seed)
    check_out(out.expanduser().absolute(), overwrite)
    trained = _find(run)
    with Console(stderr=True).status("Exporting"):
        exported = export(trained, out, overwrite=overwrite, seed=seed)
    for name, check in exported.checks.items():
        typer.echo(
            f"policy {name}: {check.equal_actions:,} of {check.observations:,} actions equal"
        )
    typer.echo(f"{out}: README.md there says how to use it")


for command in (submit, jobs, logs, stop):
    app.command()(command)


def _open_no_window() -> None:
    """No window and no sound is needed: without these SDL complains where there is no screen."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")


def _find(run: Path) -> TrainedTrial:
    """Finds the checkpoint before anything imports Ray, so that a mistake is answered at once."""
    from empo_rllib.experiment.cluster import quiet_ray
    from empo_rllib.experiment.run_folder import locate

    trained = locate(run)
    quiet_ray()
    return trained


def _count(episodes: int) -> str:
    return "1 episode" if episodes == 1 else f"{episodes} episodes"


def main() -> None:
    """Entry point of `python -m empo_rllib`."""
    with reporting_errors():
        app(prog_name="python -m empo_rllib")
