"""Puts an experiment on a cluster and follows it."""

from __future__ import annotations

import asyncio
import math
import secrets
import shlex
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.experiment.run_folder import run_folder_of
from empo_rllib.service.client import reporting_loss
from empo_rllib.service.jobs import COMMAND, EXPERIMENT, Job, wait_for_end
from empo_rllib.service.upload import EXPERIMENT_FILE, pack_upload
from empo_rllib.terminal import printable_styled

if TYPE_CHECKING:
    from empo_rllib.service.client import JobSubmissionClient

# After `checkpoint.grace_s` the run only has to sum up; Ray would kill it 3 s after its signal.
_SUM_UP_S = 30


def submit_experiment(
    client: JobSubmissionClient,
    config: ExperimentConfig,
    command: str,
    options: list[str],
    include: Iterable[Path] = (),
) -> str:
    """Starts a job that trains the experiment.

    Args:
        client: The cluster's job service.
        config: The experiment.
        command: What the user typed, without `--resume` and `--overwrite`.
        options: Which of these were given.
        include: Of the upload, as in `find_files`.

    Returns:
        The job's id.

    Raises:
        ConfigError: the storage path cannot hold runs, or something must not be uploaded.
    """
    run_folder_of(config)
    job_id = f"{config.name}-{secrets.token_hex(3)}"
    entrypoint = ["python", "-m", "empo_rllib.service.job", EXPERIMENT_FILE, *options]
    stop_s = math.ceil(config.checkpoint.grace_s) + _SUM_UP_S
    with tempfile.TemporaryDirectory(prefix="empo-") as folder:
        pack_upload(config, Path(folder), include)
        with reporting_loss(client.get_address()):
            client.submit_job(
                # Ray signals the shell too: `exec` leaves none.
                entrypoint=f"exec {shlex.join([*entrypoint, '--command', command])}",
                submission_id=job_id,
                runtime_env={
                    "working_dir": folder,
                    # Ray's own TERM makes the run save; this is how long it may take.
                    "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(stop_s)},
                },
                metadata={EXPERIMENT: config.name, COMMAND: command},
            )
    return job_id


def follow_job(client: JobSubmissionClient, job_id: str) -> Job:
    """Prints a job's log, from its beginning, until the job ends."""
    with reporting_loss(client.get_address()):
        asyncio.run(_print_log(client, job_id))
    return wait_for_end(client, job_id)


def stop_job(client: JobSubmissionClient, job: Job) -> Job:
    """Makes a run save its state and end; returns the job when it has."""
    with reporting_loss(client.get_address()):
        client.stop_job(job.id)
    return wait_for_end(client, job.id)


async def _print_log(client: JobSubmissionClient, job_id: str) -> None:
    async for text in client.tail_job_logs(job_id):
        print(printable_styled(text), end="", flush=True)
