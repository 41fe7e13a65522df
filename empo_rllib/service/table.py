"""The table that `jobs` prints."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.table import Table

from empo_rllib.experiment.time_left import duration
from empo_rllib.service.jobs import Job


def render_jobs(jobs: Sequence[Job]) -> Table:
    """Returns one row per job; its id begins with the experiment's name."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("job", "status", "exit code", "started", "duration"):
        table.add_column(name, no_wrap=name == "job")  # ids are copied
    for job in jobs:
        started = job.started and datetime.fromtimestamp(job.started)
        table.add_row(
            job.id,
            job.status,
            "" if job.exit_code is None else str(job.exit_code),
            f"{started:%Y-%m-%d %H:%M:%S}" if started else "",
            duration(job.duration_s()),
        )
    return table
