"""What a submitted job runs on the cluster: `python -m empo_rllib.service.job`.

Its working folder is the upload, which Ray removes sooner or later. So it goes to the cluster's
workspace first, where a relative `storage_path` is that of every other run.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from empo_rllib.command_line import echo, reporting_errors
from empo_rllib.config.load import load_config
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.errors import ConfigError
from empo_rllib.service.jobs import EXIT_LINE

WORKSPACE = "EMPO_RLLIB_WORKSPACE"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def job(
    config: Annotated[Path, typer.Argument(help="The experiment, without overrides.")],
    command: Annotated[str, typer.Option(help="What the user typed to submit it.")],
    resume: Annotated[bool, typer.Option("--resume")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite")] = False,
) -> None:
    """Train an experiment on the cluster that this job runs on."""
    experiment = load_config(config)
    enter_workspace(experiment)
    from empo_rllib.experiment.cluster import quiet_ray

    quiet_ray()
    from empo_rllib.experiment.outcome import exit_code, render_outcome
    from empo_rllib.experiment.tuner import run

    result = run(experiment, resume=resume, overwrite=overwrite, address="auto")
    echo(render_outcome(result, command))
    raise typer.Exit(exit_code(result))


def enter_workspace(experiment: ExperimentConfig) -> None:
    """Changes to the cluster's workspace.

    Raises:
        ConfigError: there is none, and the experiment's results would be lost without.
    """
    workspace = os.environ.get(WORKSPACE)
    if workspace:
        try:
            os.chdir(workspace)
        except OSError as error:
            raise ConfigError(f"{WORKSPACE} = {workspace}: {error.strerror}.") from error
        return
    path = experiment.storage_path
    if "://" not in path and not Path(path).expanduser().is_absolute():
        raise ConfigError(
            f"storage_path = {path!r} is relative, and a job's own folder is temporary: the "
            "results would be lost. Give a path that all nodes share, such as --set "
            f"storage_path=/shared/results, or set {WORKSPACE} on the cluster's head."
        )


def main() -> None:
    """Runs the job and writes its exit code to the end of its log."""
    try:
        with reporting_errors():
            app(prog_name="python -m empo_rllib.service.job")
    except SystemExit as end:
        print(EXIT_LINE.format(end.code or 0))
        raise


if __name__ == "__main__":
    main()
