"""`python -m empo_rllib.tune --config FILE`: trains an experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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
from empo_rllib.help_examples import render_examples

if TYPE_CHECKING:
    from empo_rllib.config.schema import ExperimentConfig
    from empo_rllib.experiment.share import ArrayTask
    from empo_rllib.experiment.summary import ExperimentResult

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=render_examples("tune"))
def tune(
    config: ConfigOption,
    set_: SetOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    address: Annotated[
        str | None, typer.Option(help="A running Ray cluster; default: one started here.")
    ] = None,
    array_task: Annotated[
        str | None,
        typer.Option(
            metavar="ARRAY_NUMBER",
            help="Train the trials that no other job of this array takes, such as 1234_0.",
            show_default=False,
        ),
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
    if dry_run:
        echo(_render_dry_run(experiment))
        return
    from empo_rllib.experiment.outcome import exit_code, render_outcome
    from empo_rllib.experiment.run_folder import check_start_options
    from empo_rllib.experiment.share import ArrayTask, check_shareable

    check_start_options(resume, overwrite)
    task = None if array_task is None else ArrayTask.parse(array_task)
    if task is not None:
        check_shareable(experiment)
    result = _train(experiment, resume, address, overwrite, task)
    echo(render_outcome(result, render_command("empo_rllib.tune", str(config), set_ or [])))
    raise typer.Exit(exit_code(result, task))


def _render_dry_run(experiment: ExperimentConfig) -> str:
    from empo_rllib.console import working
    from empo_rllib.experiment.cluster import quiet_ray

    with working(f"Planning {experiment.name}"):
        quiet_ray()
        from empo_rllib.experiment.dry_run import render_dry_run

        return render_dry_run(experiment)


def _train(
    experiment: ExperimentConfig,
    resume: bool,
    address: str | None,
    overwrite: bool,
    task: ArrayTask | None,
) -> ExperimentResult:
    """Trains as `empo_rllib.run` does; shows something before the imports, which take seconds."""
    from empo_rllib.experiment.cluster import quiet_ray, running_cluster
    from empo_rllib.experiment.progress import Display

    with Display(experiment) as display:
        display.doing("importing Ray and torch")
        quiet_ray()
        from empo_rllib.experiment.tuner import run_on

        cluster = None if address is None else running_cluster(address)
        return run_on(cluster, experiment, display, resume=resume, overwrite=overwrite, task=task)


def main() -> None:
    """Entry point of `python -m empo_rllib.tune`."""
    with reporting_errors():
        app(prog_name="python -m empo_rllib.tune")


if __name__ == "__main__":
    main()
