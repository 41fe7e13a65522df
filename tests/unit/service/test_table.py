"""The table of jobs can be copied from."""

from __future__ import annotations

import io

from rich.console import Console

from empo_rllib.service.jobs import Job
from empo_rllib.service.table import render_jobs


def test_a_jobs_id_is_never_cut_off():
    name = "a-name-that-is-rather-long-for-an-experiment"
    job = Job(f"{name}-3f9a1c", name, "finished", 0, 1.0, 2.0, "python -m ..", "")
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render_jobs([job]))
    assert job.id in console.export_text()
