"""`python -m empo_rllib`, or the script `empo-rllib`: all commands."""

from __future__ import annotations

from typing import Annotated

import typer

from empo_rllib.command_line import echo, program_name, reporting_errors
from empo_rllib.commands.doctor import doctor
from empo_rllib.commands.export import export
from empo_rllib.commands.jobs import jobs, logs, stop
from empo_rllib.commands.profile import profile
from empo_rllib.commands.results import crossplay, evaluate, record, report
from empo_rllib.commands.submit import submit
from empo_rllib.help_examples import render_examples
from empo_rllib.tune import tune
from empo_rllib.version import __version__

app = typer.Typer(pretty_exceptions_enable=False, no_args_is_help=True)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        echo(__version__)
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Train experiments here or on a cluster, check environments, evaluate and record policies."""


for command in (
    tune,
    evaluate,
    crossplay,
    record,
    report,
    doctor,
    profile,
    export,
    submit,
    jobs,
    logs,
    stop,
):
    app.command(epilog=render_examples(command.__name__))(command)


def main() -> None:
    """Entry point of `python -m empo_rllib`."""
    with reporting_errors():
        app(prog_name=program_name("empo_rllib"))
