"""`python -m empo_rllib`: what is done before and after training, and runs on a cluster."""

from __future__ import annotations

import typer

from empo_rllib.command_line import reporting_errors
from empo_rllib.commands.doctor import doctor
from empo_rllib.commands.export import export
from empo_rllib.commands.jobs import jobs, logs, stop
from empo_rllib.commands.results import crossplay, evaluate, record, report
from empo_rllib.commands.submit import submit

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Check environments, evaluate and film trained policies, and train on a cluster. "
    "Training here: python -m empo_rllib.tune --help",
)
for command in (evaluate, crossplay, record, report, doctor, export, submit, jobs, logs, stop):
    app.command()(command)


def main() -> None:
    """Entry point of `python -m empo_rllib`."""
    with reporting_errors():
        app(prog_name="python -m empo_rllib")
