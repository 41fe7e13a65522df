"""`doctor`: the command that examines an environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from empo_rllib.command_line import SetOption, echo
from empo_rllib.commands.options import JsonOption
from empo_rllib.commands.prepare import open_no_window


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
    json: JsonOption = False,
) -> None:
    """Examine an environment before anyone trains in it.

    Plays it with random actions for some ten seconds. Tells what is wrong, with the
    line to change; episode lengths and returns; where the time goes; which sampler
    it gets, and why; settings that follow from all this.

    Exit codes: 0 no errors; 1 errors; 2 it cannot be made, or bad arguments.
    """
    from rich.markup import escape

    from empo_rllib.console import PrintableConsole
    from empo_rllib.doctor.examine import examine
    from empo_rllib.doctor.experiment import experiment_of
    from empo_rllib.doctor.table import render_report

    experiment = experiment_of(env, config, num_agents, set_ or [])
    open_no_window()
    with PrintableConsole(stderr=True).status(f"Examining {escape(experiment.env.id)}"):
        report = examine(experiment)
    if json:
        echo(report.to_json())
    else:
        PrintableConsole().print(render_report(report))
    raise typer.Exit(report.exit_code)
