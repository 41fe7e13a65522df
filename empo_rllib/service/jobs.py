"""The jobs on a cluster that `submit` started, and how they ended.

Ray calls a job FAILED whatever its exit code was, but keeps that code. Only of a job that was
stopped it does not; there the last line of the log tells, which the job itself writes.
"""

from __future__ import annotations

import re
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from empo_rllib.errors import ServiceError, nearest
from empo_rllib.service.client import reporting_loss

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

# Keys of a job's metadata; a job that lacks them is somebody else's.
EXPERIMENT, COMMAND = "empo_experiment", "empo_command"
# The last line of a job's log.
EXIT_LINE = "exit code {}"
_EXIT_LINE = re.compile(r"^exit code (\d+)\s*\Z", re.MULTILINE)
_UNDER_WAY = {"PENDING": "waiting", "RUNNING": "running"}
_ENDINGS = {0: "finished", 1: "failed", 2: "refused", 75: "interrupted"}
_WITHOUT_EXIT_CODE = {"STOPPED": "stopped", "FAILED": "lost"}
_LOOK_EVERY_S = 0.5
# Of the year 9999.
_MAX_MILLISECONDS = 253_000_000_000_000


@dataclass(frozen=True)
class Job:
    """A job as `jobs` tells it.

    Attributes:
        status: `waiting`, `running`; then `finished` (exit code 0), `failed` (1 or another code),
            `refused` (2: a mistake in the experiment), `interrupted` (75: state saved), `killed`
            (above 128), `stopped` (ended without an exit code because `stop` was typed) or `lost`
            (the same without that: its node or the cluster failed).
        exit_code: Of the run; 128 and the number for one that a signal killed.
        started: Unix time, seconds.
        ended: The same.
        command: What to type to submit it again, without `--resume`.
        message: What Ray says about it.
    """

    id: str
    experiment: str
    status: str
    exit_code: int | None
    started: float | None
    ended: float | None
    command: str
    message: str

    @property
    def is_over(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.status not in _UNDER_WAY.values()

    def duration_s(self) -> float | None:
        """Seconds that it has been running, or ran."""
        return None if self.started is None else (self.ended or time.time()) - self.started

    def to_dict(self) -> dict[str, Any]:
        """Returns what `jobs --json` prints."""
        return asdict(self) | {"duration_s": self.duration_s()}


def list_jobs(client: JobSubmissionClient) -> list[Job]:
    """Returns the jobs that were submitted to the cluster since it was started, oldest first."""
    with reporting_loss(client.get_address()):
        return [_build_job(client, details) for details in _list_details(client)]


def find_job(client: JobSubmissionClient, job_id: str) -> Job:
    """Returns the job with this id.

    Raises:
        ServiceError: there is none.
    """
    with reporting_loss(client.get_address()):
        known = {str(details.submission_id): details for details in _list_details(client)}
        if job_id in known:
            return _build_job(client, known[job_id])
    raise ServiceError(
        f"{job_id}: no such job on {client.get_address()}.{nearest(job_id, known)} "
        "`python -m empo_rllib jobs` lists them."
    )


def read_log(client: JobSubmissionClient, job: Job) -> str:
    """Returns what a job has printed so far."""
    with reporting_loss(client.get_address()):
        return _read_log(client, job.id)


def wait_for_end(client: JobSubmissionClient, job_id: str) -> Job:
    """Returns the job when it has ended."""
    while not (job := find_job(client, job_id)).is_over:
        time.sleep(_LOOK_EVERY_S)
    return job


def describe_end(job: Job) -> str:
    """Returns one line on how a job ended, and what can be done."""
    code = "" if job.exit_code is None else f", exit code {job.exit_code}"
    line = f"{job.id}: {job.status}{code}"
    if job.status == "lost":
        line += f": {' '.join(job.message.split()).rstrip('.')}"
    if job.status == "stopped":
        line += (
            f" before it could save. To start again: {job.command} (with --resume from what was "
            "saved earlier, if it was)"
        )
    if job.status in ("interrupted", "killed", "lost"):
        line += f". To go on: {job.command} --resume"
    return line


def _list_details(client: JobSubmissionClient) -> list[JobDetails]:
    ours = [
        details
        for details in client.list_jobs()
        if details.type.value == "SUBMISSION" and EXPERIMENT in (details.metadata or {})
    ]
    return sorted(ours, key=lambda details: details.start_time or 0)


def _build_job(client: JobSubmissionClient, details: JobDetails) -> Job:
    job_id, metadata = str(details.submission_id), details.metadata or {}
    code = _exit_code(client, details)
    return Job(
        id=job_id,
        experiment=metadata[EXPERIMENT],
        status=_describe_status(details.status.value, code),
        exit_code=code,
        started=_seconds(details.start_time),
        ended=_seconds(details.end_time),
        command=metadata.get(COMMAND, ""),
        message=details.message or "",
    )


def _exit_code(client: JobSubmissionClient, details: JobDetails) -> int | None:
    code: int | None = details.driver_exit_code
    if details.status.value == "STOPPED":
        written = _EXIT_LINE.search(_read_log(client, str(details.submission_id)))
        code = int(written.group(1)) if written else None
    return 128 - code if code is not None and code < 0 else code


def _read_log(client: JobSubmissionClient, job_id: str) -> str:
    log: Any = client.get_job_logs(job_id)
    if not isinstance(log, str):
        raise TypeError(f"the log of {job_id} is no text")
    return log


def _seconds(milliseconds: int | None) -> float | None:
    """Returns a Unix time in seconds; None for none, and for one that is no date."""
    if milliseconds is None or not 0 < milliseconds < _MAX_MILLISECONDS:
        return None
    return milliseconds / 1000


def _describe_status(status: str, exit_code: int | None) -> str:
    if status in _UNDER_WAY:
        return _UNDER_WAY[status]
    if exit_code is None:
        return _WITHOUT_EXIT_CODE[status]
    return _ENDINGS.get(exit_code, "killed" if exit_code > 128 else "failed")
