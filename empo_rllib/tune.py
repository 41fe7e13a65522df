"""`python -m empo_rllib.tune --config FILE`: trains an experiment."""

from __future__ import annotations

from typing import Annotated

import typer

from empo_rllib.command_line import (
    ConfigOption,
    OverwriteOption,
    ResumeOption,
    SetOption,
    check_address_space,
    echo,
    render_command,
    reporting_errors,
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def tune(
    config: ConfigOption,
    set_: SetOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    address: Annotated[
        str | None, typer.Option(help="A running Ray cluster; default: one started here.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would run, and train nothing.")
    ] = False,
) -> None:
    """Train an experiment with Ray Tune.

    Exit codes: 0 done; 1 a trial failed; 2 bad config or arguments; 75 interrupted, state saved.
    """
    check_address_space()
    from empo_rllib.config.load import load_config

    experiment = load_config(config, set_ or [])
    from empo_rllib.experiment.cluster import quiet_ray

    quiet_ray()
    if dry_run:
        from empo_rllib.experiment.dry_run import render_dry_run

        echo(render_dry_run(experiment))
        return
    from empo_rllib.experiment.outcome import exit_code, render_outcome
    from empo_rllib.experiment.tuner import run

    result = run(experiment, resume=resume, address=address, overwrite=overwrite)
    echo(render_outcome(result, render_command("empo_rllib.tune", str(config), set_ or [])))
    raise typer.Exit(exit_code(result))


def main() -> None:
    """Entry point of `python -m empo_rllib.tune`."""
    with reporting_errors():
        app(prog_name="python -m empo_rllib.tune")


if __name__ == "__main__":
    main()
