"""What a SLURM job runs, beside the head of its Ray cluster: `python -m empo_rllib.service.slurm_job`.

cluster/ray_slurm.sh starts it. It trains as `python -m empo_rllib.tune` does, once all nodes are
there, and goes on with the run where SLURM has started the job before.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from pathlib import Path
from typing import Annotated

import typer

from empo_rllib.command_line import (
    ConfigOption,
    OverwriteOption,
    ResumeOption,
    SetOption,
    reporting_errors,
)
from empo_rllib.config.load import load_config
from empo_rllib.errors import ResourceError
from empo_rllib.experiment.provenance import PROVENANCE_FILE
from empo_rllib.experiment.run_folder import check_start_options, run_folder_of

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def job(
    config: ConfigOption,
    address: Annotated[str, typer.Option(help="The head of the job's Ray cluster.")],
    nodes: Annotated[int, typer.Option(help="How many nodes the cluster is to have.")],
    start_s: Annotated[float, typer.Option(help="How long they may take to join.")],
    set_: SetOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Train an experiment on the nodes of a SLURM job."""
    experiment = load_config(config, set_ or [])
    check_start_options(resume, overwrite)
    if was_started_by_this_job(run_folder_of(experiment)):
        resume, overwrite = True, False
    from empo_rllib.experiment.cluster import quiet_ray

    quiet_ray()
    from empo_rllib.experiment.outcome import exit_code, render_outcome
    from empo_rllib.experiment.tuner import run

    wait_for_nodes(address, nodes, start_s)
    result = run(experiment, resume=resume, overwrite=overwrite, address=address)
    typer.echo(render_outcome(result, render_sbatch(nodes, str(config), set_ or [])))
    raise typer.Exit(exit_code(result))


def was_started_by_this_job(folder: Path) -> bool:
    """Whether the run in `folder` was trained by this job before SLURM started it again.

    What was asked for with `--overwrite` is removed only once.
    """
    try:
        sessions = json.loads((folder / PROVENANCE_FILE).read_text())["sessions"]
    except FileNotFoundError:
        return False
    job_id = os.environ.get("SLURM_JOB_ID")
    return any(session.get("slurm", {}).get("job_id") == job_id for session in sessions)


def wait_for_nodes(address: str, count: int, timeout_s: float) -> None:
    """Returns when the cluster has `count` nodes.

    Raises:
        ResourceError: it has fewer after `timeout_s`.
    """
    import ray

    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    try:
        deadline = time.monotonic() + timeout_s
        while len(names := _node_names()) < count:
            if time.monotonic() > deadline:
                raise ResourceError(
                    f"{len(names)} of {count} nodes have joined the cluster within {timeout_s:g} s: "
                    f"{', '.join(names)}. The others must reach port {address.rpartition(':')[2]} "
                    f"of {address.rpartition(':')[0]}: name the network with EMPO_RLLIB_INTERFACE, "
                    "or give them longer with EMPO_RLLIB_START_S."
                )
            time.sleep(0.2)
    finally:
        ray.shutdown()


def _node_names() -> list[str]:
    import ray

    return sorted(node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"])


def render_sbatch(nodes: int, config: str, overrides: list[str]) -> str:
    """Returns the line that submits the experiment again, for `--resume` to be added to."""
    arguments = ["--config", config, *(part for key in overrides for part in ("--set", key))]
    return f"sbatch --nodes={nodes} cluster/ray_slurm.sh {shlex.join(arguments)}"


def main() -> None:
    """Entry point; until the experiment listens there is nothing that a signal could save."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # it is sent again
    with reporting_errors():
        app(prog_name="cluster/ray_slurm.sh")


if __name__ == "__main__":
    main()
