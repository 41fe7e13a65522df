"""`python -m empo_rllib`: what is done before and after training, and runs on a cluster."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from empo_rllib.command_line import (
    ConfigOption,
    OverwriteOption,
    ResumeOption,
    SetOption,
    render_command,
    reporting_errors,
)
from empo_rllib.results.commands import crossplay, evaluate

if TYPE_CHECKING:
    from empo_rllib.experiment.run_folder import TrainedTrial
    from empo_rllib.service.client import JobSubmissionClient

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
_Id = Annotated[
    str, typer.Argument(metavar="ID", help="What `submit` printed.", show_default=False)
]
_Address = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The Ray dashboard; default: RAY_API_SERVER_ADDRESS, RAY_ADDRESS or "
        "http://127.0.0.1:8265.",
        show_default=False,
    ),
]
_TokenFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The cluster's token; default: RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH.",
        show_default=False,
    ),
]
_DETACHED_EXIT_CODE = 130


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
def submit(
    config: ConfigOption,
    set_: SetOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    address: _Address = None,
    token_file: _TokenFile = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Print the log until the run ends.")
    ] = False,
) -> None:
    """Train an experiment on a running Ray cluster, and print the job's id.

    With --follow the exit code is that of the run: 0 done; 1 a trial failed; 2 a mistake;
    75 interrupted, state saved. Ctrl-C then only ends the following (130).
    """
    from empo_rllib.config.load import load_config
    from empo_rllib.experiment.run_folder import check_start_options
    from empo_rllib.service.client import connect
    from empo_rllib.service.submit import submit_experiment

    experiment = load_config(config, set_ or [])
    check_start_options(resume, overwrite)
    where = _cluster_options(address, token_file)
    command = render_command("empo_rllib submit", str(config), set_ or [], where)
    options = ["--resume"] * resume + ["--overwrite"] * overwrite
    client = connect(address, token_file)
    job_id = submit_experiment(client, experiment, command, options)
    if follow:
        typer.echo(f"job {job_id}", err=True)
        _follow(client, job_id, where)
    typer.echo(job_id)
    typer.echo(_render_hints(job_id, where), err=True)


@app.command()
def jobs(
    address: _Address = None,
    token_file: _TokenFile = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """List the jobs that were submitted to a cluster."""
    from json import dumps

    from rich.console import Console

    from empo_rllib.service.client import connect
    from empo_rllib.service.jobs import list_jobs
    from empo_rllib.service.table import render_jobs

    found = list_jobs(connect(address, token_file))
    if json:
        typer.echo(dumps([job.to_dict() for job in found], indent=2))
    elif found:
        Console(highlight=False, soft_wrap=True).print(render_jobs(found))
    else:
        typer.echo("no jobs yet", err=True)


@app.command()
def logs(
    job_id: _Id,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until the run ends, with its exit code.")
    ] = False,
    address: _Address = None,
    token_file: _TokenFile = None,
) -> None:
    """Print what a job has printed."""
    from empo_rllib.service.client import connect
    from empo_rllib.service.jobs import describe_end, find_job, read_log

    client = connect(address, token_file)
    job = find_job(client, job_id)
    if follow:
        _follow(client, job_id, _cluster_options(address, token_file))
    typer.echo(read_log(client, job), nl=False)
    typer.echo(describe_end(job), err=True)


@app.command()
def stop(job_id: _Id, address: _Address = None, token_file: _TokenFile = None) -> None:
    """Make a run save its state and end; `submit --resume` goes on with it."""
    from empo_rllib.service.client import connect
    from empo_rllib.service.jobs import describe_end, find_job
    from empo_rllib.service.submit import stop_job

    client = connect(address, token_file)
    job = find_job(client, job_id)
    if not job.is_over:
        typer.echo(f"{job_id}: stopping; each trial saves after its iteration", err=True)
        try:
            job = stop_job(client, job)
        except KeyboardInterrupt:
            typer.echo("\nno longer waiting; the run saves and ends all the same", err=True)
            raise typer.Exit(_DETACHED_EXIT_CODE) from None
    typer.echo(describe_end(job))


def _follow(client: JobSubmissionClient, job_id: str, where: list[str]) -> NoReturn:
    """Prints a job's log to its end; ends with the run's exit code."""
    from empo_rllib.service.jobs import describe_end
    from empo_rllib.service.submit import follow_job

    try:
        job = follow_job(client, job_id)
    except KeyboardInterrupt:
        typer.echo(
            f"\nno longer following; the run goes on\n{_render_hints(job_id, where)}", err=True
        )
        raise typer.Exit(_DETACHED_EXIT_CODE) from None
    typer.echo(describe_end(job), err=True)
    raise typer.Exit(1 if job.exit_code is None else job.exit_code)


def _cluster_options(address: str | None, token_file: Path | None) -> list[str]:
    """Returns what says which cluster, to repeat in commands that are proposed."""
    options = [] if address is None else ["--address", address]
    return options if token_file is None else [*options, "--token-file", str(token_file)]


def _render_hints(job_id: str, where: list[str]) -> str:
    arguments = shlex.join([job_id, *where])
    # What is typed on the host, if this runs in the cluster's head.
    shell = "docker compose exec ray-head " if os.environ.get("EMPO_RLLIB_NODE") == "head" else ""
    return (
        f"follow  {shell}python -m empo_rllib logs {arguments} --follow\n"
        f"stop    {shell}python -m empo_rllib stop {arguments}"
    )


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
