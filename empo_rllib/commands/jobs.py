"""The commands that look after the jobs on a cluster: `jobs`, `logs` and `stop`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from empo_rllib.command_line import echo
from empo_rllib.commands.options import JsonOption
from empo_rllib.terminal import printable_styled

if TYPE_CHECKING:
    from empo_rllib.service.client import JobSubmissionClient

_Id = Annotated[
    str, typer.Argument(metavar="ID", help="What `submit` printed.", show_default=False)
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The Ray dashboard; default: RAY_API_SERVER_ADDRESS, RAY_ADDRESS or "
        "http://127.0.0.1:8265.",
        show_default=False,
    ),
]
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The cluster's token; default: RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH.",
        show_default=False,
    ),
]
_DETACHED_EXIT_CODE = 130


def jobs(
    address: AddressOption = None,
    token_file: TokenFileOption = None,
    json: JsonOption = False,
) -> None:
    """List the jobs that were submitted to a cluster."""
    from json import dumps

    from empo_rllib.console import PrintableConsole
    from empo_rllib.service.client import connect
    from empo_rllib.service.jobs import list_jobs
    from empo_rllib.service.table import render_jobs

    found = list_jobs(connect(address, token_file))
    if json:
        echo(dumps([job.to_dict() for job in found], indent=2))
    elif found:
        PrintableConsole(soft_wrap=True).print(render_jobs(found))
    else:
        echo("no jobs yet", err=True)


def logs(
    job_id: _Id,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until the run ends, with its exit code.")
    ] = False,
    address: AddressOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """Print what a job has printed."""
    from empo_rllib.service.client import connect
    from empo_rllib.service.jobs import describe_end, find_job, read_log

    client = connect(address, token_file)
    job = find_job(client, job_id)
    if follow:
        follow_to_end(client, job_id, cluster_options(address, token_file))
    typer.echo(printable_styled(read_log(client, job)), nl=False)
    echo(describe_end(job), err=True)


def stop(job_id: _Id, address: AddressOption = None, token_file: TokenFileOption = None) -> None:
    """Make a run save its state and end; `submit --resume` goes on with it."""
    from empo_rllib.service.client import connect
    from empo_rllib.service.jobs import describe_end, find_job
    from empo_rllib.service.submit import stop_job

    client = connect(address, token_file)
    job = find_job(client, job_id)
    if not job.is_over:
        echo(f"{job_id}: stopping; each trial saves after its iteration", err=True)
        try:
            job = stop_job(client, job)
        except KeyboardInterrupt:
            echo("\nno longer waiting; the run saves and ends all the same", err=True)
            raise typer.Exit(_DETACHED_EXIT_CODE) from None
    echo(describe_end(job))


def follow_to_end(client: JobSubmissionClient, job_id: str, where: list[str]) -> NoReturn:
    """Prints a job's log to its end; ends with the run's exit code."""
    from empo_rllib.service.jobs import describe_end
    from empo_rllib.service.submit import follow_job

    try:
        job = follow_job(client, job_id)
    except KeyboardInterrupt:
        echo(f"\nno longer following; the run goes on\n{render_hints(job_id, where)}", err=True)
        raise typer.Exit(_DETACHED_EXIT_CODE) from None
    echo(describe_end(job), err=True)
    raise typer.Exit(1 if job.exit_code is None else job.exit_code)


def cluster_options(address: str | None, token_file: Path | None) -> list[str]:
    """Returns what says which cluster, to repeat in commands that are proposed."""
    options = [] if address is None else ["--address", address]
    return options if token_file is None else [*options, "--token-file", str(token_file)]


def render_hints(job_id: str, where: list[str]) -> str:
    """Returns what to type to follow and to stop a job."""
    arguments = shlex.join([job_id, *where])
    # What is typed on the host, if this runs in the cluster's head.
    shell = "docker compose exec ray-head " if os.environ.get("EMPO_RLLIB_NODE") == "head" else ""
    return (
        f"follow  {shell}python -m empo_rllib logs {arguments} --follow\n"
        f"stop    {shell}python -m empo_rllib stop {arguments}"
    )
