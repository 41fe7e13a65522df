"""Answers of the job service of a cluster, or of what answers in its place."""

from __future__ import annotations

import io
import json
import urllib.request
from typing import Any
from unittest import mock

import requests
from harness import TEXTS, VALUES, changed_bytes, changed_data, fuzz, json_bytes, succeeds_or_tells
from hypothesis import strategies as st
from ray.job_submission import JobSubmissionClient

from empo_rllib.console import PrintableConsole
from empo_rllib.service import client as client_module
from empo_rllib.service.jobs import COMMAND, EXPERIMENT, describe_end, list_jobs, read_log
from empo_rllib.service.table import render_jobs

JOBS = [
    {
        "type": "SUBMISSION",
        "job_id": "01000000",
        "submission_id": "run-3f9a1c",
        "driver_info": None,
        "status": status,
        "entrypoint": "python",
        "message": "done",
        "error_type": None,
        "start_time": 1648837247000,
        "end_time": None,
        "metadata": {EXPERIMENT: "run", COMMAND: "python -m empo_rllib submit"},
        "runtime_env": {},
        "driver_agent_http_address": None,
        "driver_node_id": None,
        "driver_exit_code": code,
    }
    for status, code in (("RUNNING", None), ("FAILED", 75), ("STOPPED", None))
]
LOGS = {"logs": "some text\nexit code 75\n"}
STATUSES = st.sampled_from([200, 200, 200, 200, 204, 404, 500])


def answers(content: Any) -> st.SearchStrategy[bytes]:
    """Answers of the service, changed, and anything else."""
    changed = changed_data(content, ["status", "metadata", "logs", "driver_exit_code"])
    return (changed | VALUES).map(json_bytes) | changed_bytes(json_bytes(content)) | st.binary()


class Client(JobSubmissionClient):
    """A client that is answered without a network."""

    def __init__(self, jobs: bytes, logs: bytes, status: int) -> None:
        self._address = "http://127.0.0.1:8265"
        self._answers = {"/api/jobs/": jobs}
        self._logs, self._status = logs, status

    def _do_request(self, method: str, endpoint: str, **_: Any) -> requests.Response:
        answer = requests.Response()
        answer.status_code = self._status
        answer._content = self._answers.get(endpoint, self._logs)
        return answer


def look_at(client: Client) -> None:
    found = list_jobs(client)
    PrintableConsole(file=io.StringIO()).print(render_jobs(found))
    for job in found:
        json.dumps(job.to_dict())
        describe_end(job)
        read_log(client, job)


@fuzz(jobs=answers(JOBS), logs=answers(LOGS), status=STATUSES)
def test_answers_about_jobs(jobs: bytes, logs: bytes, status: int) -> None:
    succeeds_or_tells(look_at, Client(jobs, logs, status))


@fuzz(content=answers({"version": "4", "ray_version": "2.60.0"}), headers=TEXTS)
def test_answers_about_the_version(content: bytes, headers: str) -> None:
    with mock.patch.object(urllib.request, "urlopen", return_value=io.BytesIO(content)):
        succeeds_or_tells(
            client_module._check_answers, "http://127.0.0.1:8265", {"Authorization": "x"}, headers
        )
