"""What a SLURM job runs: `python -m empo_rllib.service.slurm_job`.

cluster/ray_slurm.sh starts it on the node of the Ray cluster's head, beside it: to import and to
plan takes as long as the head. It trains as `python -m empo_rllib.tune` does, once all nodes are
there, and goes on with the run where SLURM has started the job before. A job of an array shares the
run with the others.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from empo_rllib.command_line import (
    ConfigOption,
    OverwriteOption,
    ResumeOption,
    SetOption,
    echo,
    experiment_arguments,
    reporting_errors,
)
from empo_rllib.config.load import load_config
from empo_rllib.errors import ResourceError
from empo_rllib.experiment.provenance import PROVENANCE_FILE
from empo_rllib.experiment.run_folder import check_start_options, run_folder_of
from empo_rllib.experiment.share import ArrayTask, check_shareable
from empo_rllib.json_text import read_json

if TYPE_CHECKING:
    from empo_rllib.experiment.cluster import Cluster

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def job(
    config: ConfigOption,
    address_file: Annotated[Path, typer.Option(help="Holds the head's address once it is there.")],
    nodes: Annotated[int, typer.Option(help="How many nodes the cluster is to have.")],
    start_s: Annotated[float, typer.Option(help="How long the head, and then they, may take.")],
    set_: SetOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Train an experiment on the nodes of a SLURM job."""
    experiment = load_config(config, set_ or [])
    check_start_options(resume, overwrite)
    task = array_task()
    if task is not None:
        check_shareable(experiment)
    elif was_started_by_this_job(run_folder_of(experiment)):
        resume, overwrite = True, False
    from empo_rllib.experiment.cluster import quiet_ray
    from empo_rllib.experiment.outcome import exit_code, render_outcome
    from empo_rllib.experiment.progress import Display

    with Display(experiment) as display:
        display.doing("importing Ray and torch")
        quiet_ray()
        from empo_rllib.experiment.tuner import run_on

        cluster = job_cluster(address_file, nodes, start_s)
        result = run_on(cluster, experiment, display, resume=resume, overwrite=overwrite, task=task)
    echo(render_outcome(result, render_sbatch(str(config), set_ or [])))
    raise typer.Exit(exit_code(result, task))


def array_task() -> ArrayTask | None:
    """Returns which job of an array this is; None where it is a job by itself."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    if array is None:
        return None
    return ArrayTask(array, int(os.environ["SLURM_ARRAY_TASK_ID"]))


@contextlib.contextmanager
def job_cluster(address_file: Path, nodes: int, start_s: float) -> Iterator[Cluster]:
    """Joins the cluster of the job when its head and all its nodes are there."""
    from empo_rllib.experiment.cluster import running_cluster

    address = wait_for_address(address_file, 2 * start_s)  # ray_slurm.sh gives up before
    with running_cluster(address, nodes, start_s) as cluster:
        yield cluster


def wait_for_address(file: Path, timeout_s: float) -> str:
    """Returns the address that ray_slurm.sh writes into `file`.

    Raises:
        ResourceError: it has not after `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while not file.exists():
        if time.monotonic() > deadline:
            raise ResourceError(f"no address of the Ray head within {timeout_s:g} s: {file}")
        time.sleep(0.1)
    return file.read_text().strip()


def was_started_by_this_job(folder: Path) -> bool:
    """Whether the run in `folder` was trained by this job before SLURM started it again.

    What was asked for with `--overwrite` is removed only once. A damaged file does not say; then
    a job that SLURM has started again continues the run.
    """
    path = folder / PROVENANCE_FILE
    if not path.exists():
        return False
    try:
        sessions = read_json(path)["sessions"]
        jobs = [session["slurm"]["job_id"] for session in sessions if "slurm" in session]
    except (ValueError, LookupError, TypeError):
        return os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
    return os.environ.get("SLURM_JOB_ID") in jobs


def render_sbatch(config: str, overrides: list[str]) -> str:
    """Returns the line that submits the experiment again, for `--resume` to be added to.

    The options that sbatch was given are not known here.
    """
    container = ["--no-container"] if os.environ.get("EMPO_RLLIB_CONTAINER") == "no" else []
    arguments = shlex.join([*container, *experiment_arguments(config, overrides)])
    return f"sbatch [OPTIONS] cluster/ray_slurm.sh {arguments}"


def main() -> None:
    """Entry point; until the experiment listens there is nothing that a signal could save."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # it is sent again
    with reporting_errors():
        app(prog_name="cluster/ray_slurm.sh")


if __name__ == "__main__":
    main()
