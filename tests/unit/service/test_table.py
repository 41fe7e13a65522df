"""The table of jobs can be copied from."""

from __future__ import annotations

import io

from rich.console import Console

from empo_rllib.service.jobs import Job
from empo_rllib.service.table import render_jobs


def test_a_jobs_id_is_never_cut_off():
    name = "multigrid-red-blue-doors"
    job = Job(f"{name}-3f9a1c", name, "finished", 0, 1.0, 2.0, "python -m ..", "")
    console = Console(width=80, soft_wrap=True, record=True, file=io.StringIO())
    console.print(render_jobs([job]))
    text = console.export_text()
    assert job.id in text
    assert "finished" in text
