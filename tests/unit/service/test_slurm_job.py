"""What a SLURM job runs: which run it goes on with."""

from __future__ import annotations

import json
import threading

import pytest

from empo_rllib.errors import ResourceError
from empo_rllib.experiment.provenance import describe_session
from empo_rllib.experiment.share import ArrayTask
from empo_rllib.service.slurm_job import (
    array_task,
    render_sbatch,
    wait_for_address,
    was_started_by_this_job,
)


@pytest.fixture
def job(monkeypatch):
    """This process is in a job."""
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[3-4]")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")


def write_sessions(folder, *job_ids):
    sessions = [{"slurm": {"job_id": job_id}} if job_id else {} for job_id in job_ids]
    (folder / "provenance.json").write_text(json.dumps({"sessions": sessions}))


def test_a_session_in_a_job_names_it(job):
    assert describe_session({}, 2)["slurm"] == {
        "job_id": "17",
        "restarts": 2,
        "nodes": "node[3-4]",
    }


def test_a_job_of_an_array_is_known_by_the_array_and_its_number(job, monkeypatch):
    assert array_task() is None
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "15")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    assert array_task() == ArrayTask("15", 2)
    assert describe_session({}, 2)["slurm"]["array_task"] == "15_2"


def test_a_session_outside_of_a_job_names_none(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert "slurm" not in describe_session({}, 1)


def test_a_job_goes_on_with_the_run_that_it_has_started(job, tmp_path):
    write_sessions(tmp_path, None, "16", "17")
    assert was_started_by_this_job(tmp_path)


@pytest.mark.parametrize("others", [(None,), ("16",), ("170", None), ()])
def test_a_job_does_not_go_on_with_the_runs_of_others(job, tmp_path, others):
    write_sessions(tmp_path, *others)
    assert not was_started_by_this_job(tmp_path)


def test_a_run_that_is_not_there_was_not_started(job, tmp_path):
    assert not was_started_by_this_job(tmp_path / "none")


DAMAGES = ["", "[]", "{}", '{"sessions": null}', '{"sessions": [{"slurm": 3}]}', "[" * 900]


@pytest.mark.parametrize("text", DAMAGES)
def test_a_damaged_file_does_not_say_so_a_job_that_was_restarted_goes_on(
    job, tmp_path, monkeypatch, text
):
    (tmp_path / "provenance.json").write_text(text)
    assert was_started_by_this_job(tmp_path)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "0")
    assert not was_started_by_this_job(tmp_path)


def test_without_a_job_nothing_was_started_by_it(monkeypatch, tmp_path):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    write_sessions(tmp_path, None)
    assert not was_started_by_this_job(tmp_path)


def test_the_line_that_submits_again_is_quoted(monkeypatch):
    arguments = "--config 'my configs/a.yaml' --set 'name=a b' --set 'stop={env_steps: 5}'"
    typed = ("my configs/a.yaml", ["name=a b", "stop={env_steps: 5}"])
    assert render_sbatch(*typed) == f"sbatch [OPTIONS] cluster/ray_slurm.sh {arguments}"
    monkeypatch.setenv("EMPO_RLLIB_CONTAINER", "no")
    assert f"cluster/ray_slurm.sh --no-container {arguments}" in render_sbatch(*typed)


def test_the_heads_address_is_waited_for(tmp_path):
    file, part = tmp_path / "address", tmp_path / "address.part"
    part.write_text("10.0.0.1:6379\n")
    writer = threading.Timer(0.3, part.rename, [file])
    writer.start()
    assert wait_for_address(file, timeout_s=30) == "10.0.0.1:6379"
    writer.join()


def test_an_address_that_does_not_come_is_told(tmp_path):
    with pytest.raises(ResourceError, match=r"no address of the Ray head within 0 s: .*/address"):
        wait_for_address(tmp_path / "address", timeout_s=0)
