"""`profile`: the command that tells where the time of an experiment goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from empo_rllib.command_line import SetOption, echo
from empo_rllib.commands.options import JsonOption
from empo_rllib.commands.prepare import open_no_window, working_with_ray


def profile(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="An experiment file.", show_default=False)
    ],
    set_: SetOption = None,
    seconds: Annotated[
        float, typer.Option(min=1, help="How long each measurement takes at least.")
    ] = 5.0,
    settings: Annotated[
        bool,
        typer.Option("--settings/--no-settings", help="Also measure other settings."),
    ] = True,
    json: JsonOption = False,
) -> None:
    """Tell where the time of an experiment goes, and what would make it faster.

    Trains its first trial on this machine, for some seconds, and keeps nothing. Then it
    measures with other numbers of envs and env runners, other minibatches and threads.
    """
    from empo_rllib.config.load import load_config
    from empo_rllib.trials import resolve_trial, sample_trials

    experiment = load_config(config, set_ or [])
    experiment = resolve_trial(experiment, sample_trials(experiment)[0])
    open_no_window()
    with working_with_ray(f"Profiling {experiment.name}") as tell:
        from empo_rllib.profiling.profile import profile_experiment

        found = profile_experiment(experiment, seconds, settings, tell)
    if json:
        from json import dumps

        echo(dumps(found.to_dict(), indent=2))
    else:
        from empo_rllib.console import PrintableConsole
        from empo_rllib.profiling.table import render_profile

        PrintableConsole().print(render_profile(found))
