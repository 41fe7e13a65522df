"""Jobs as Ray tells them, in our words; Ray's client is one that answers from memory."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from empo_rllib.errors import ServiceError, ServiceLost
from empo_rllib.service import jobs
from empo_rllib.service.jobs import describe_end, find_job, list_jobs, wait_for_end
from empo_rllib.service.table import render_jobs

COMMAND = "python -m empo_rllib submit --config maze.yaml"
OURS = {"empo_experiment": "maze", "empo_command": COMMAND}


def details(
    id="maze-1", status="SUCCEEDED", code=0, metadata=OURS, start=1_000, end=3_500, type=None
):
    return SimpleNamespace(
        submission_id=id,
        status=SimpleNamespace(value=status),
        type=SimpleNamespace(value=type or "SUBMISSION"),
        driver_exit_code=code,
        metadata=metadata,
        start_time=start,
        end_time=end,
        message="The node\n died.",
    )


class Client:
    """Answers each question for all jobs with the next list, the last one for ever."""

    def __init__(self, *answers, log=""):
        self.answers = list(answers)
        self.log = log

    def get_address(self):
        return "http://ray-head:8265"

    def list_jobs(self):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def get_job_logs(self, job_id):
        return self.log


def only_job(log="", **changes):
    (job,) = list_jobs(Client([details(**changes)], log=log))
    return job


@pytest.mark.parametrize("answer", [None, 3, [None], ["maze"], [{}], [SimpleNamespace()]])
def test_an_answer_that_is_not_rays_is_one_message(answer):
    with pytest.raises(ServiceLost, match="an answer is not that of Ray's job service"):
        list_jobs(Client(answer))


def test_a_log_that_is_no_text_is_one_message():
    with pytest.raises(ServiceLost, match="the log of maze-1 is no text"):
        list_jobs(Client([details(status="STOPPED", code=None)], log=None))


def test_a_time_that_is_no_date_is_left_out():
    job = only_job(start=10**30, end=-5)
    assert (job.started, job.ended) == (None, None)
    render_jobs([job])


@pytest.mark.parametrize(
    ("status", "code", "word", "told"),
    [
        ("PENDING", None, "waiting", None),
        ("RUNNING", None, "running", None),
        ("SUCCEEDED", 0, "finished", 0),
        ("FAILED", 1, "failed", 1),
        ("FAILED", 2, "refused", 2),
        ("FAILED", 75, "interrupted", 75),
        ("FAILED", -9, "killed", 137),
        ("FAILED", 130, "killed", 130),
        ("FAILED", 127, "failed", 127),
        ("FAILED", None, "lost", None),
        ("STOPPED", None, "stopped", None),
    ],
)
def test_the_exit_code_that_ray_keeps_tells_how_a_job_ended(status, code, word, told):
    job = only_job(status=status, code=code)
    assert (job.status, job.exit_code) == (word, told)
    assert job.is_over == (status not in ("PENDING", "RUNNING"))


@pytest.mark.parametrize(
    ("log", "word", "code"),
    [
        ("saved\nexit code 75\n", "interrupted", 75),
        ("done\nexit code 0\n", "finished", 0),  # the signal came too late
        ("exit code 75\nTraceback\n", "stopped", None),
        ("no exit code 75\n", "stopped", None),
        ("", "stopped", None),
    ],
)
def test_of_a_stopped_job_the_end_of_its_log_tells(log, word, code):
    job = only_job(log, status="STOPPED", code=None)
    assert (job.status, job.exit_code) == (word, code)


def test_the_log_of_another_ending_is_not_asked_for():
    class NoLogs(Client):
        def get_job_logs(self, job_id):
            raise AssertionError("a log may be long")

    assert list_jobs(NoLogs([details(code=0)]))[0].exit_code == 0


def test_jobs_of_others_are_left_out_and_the_oldest_comes_first():
    answer = [
        details("maze-2", start=2_000),
        details("theirs", metadata={}),
        details("theirs-2", metadata=None),
        details("driver", type="DRIVER"),
        details("maze-1", start=1_000),
    ]
    assert [job.id for job in list_jobs(Client(answer))] == ["maze-1", "maze-2"]


def test_a_job_lasts_until_its_end_or_now(monkeypatch):
    assert only_job().duration_s() == 2.5
    monkeypatch.setattr(jobs.time, "time", lambda: 11.0)
    assert only_job(status="RUNNING", code=None, end=None).duration_s() == 10.0
    assert only_job(status="PENDING", code=None, start=None, end=None).duration_s() is None


def test_an_unknown_id_is_told_with_the_nearest():
    client = Client([details("maze-0a1b2c"), details("grid-ffffff")])
    assert find_job(client, "grid-ffffff").id == "grid-ffffff"
    with pytest.raises(ServiceError) as raised:
        find_job(client, "maze-0a1b2d")
    assert str(raised.value) == (
        "maze-0a1b2d: no such job on http://ray-head:8265. Did you mean 'maze-0a1b2c'? "
        "`python -m empo_rllib jobs` lists them."
    )


def test_waiting_ends_with_the_job(monkeypatch):
    monkeypatch.setattr(jobs.time, "sleep", lambda seconds: None)
    client = Client(
        *([details(status=status, code=None)] for status in ("PENDING", "RUNNING")), [details()]
    )
    assert wait_for_end(client, "maze-1").status == "finished"


def test_a_service_that_goes_away_is_one_message():
    class Gone(Client):
        def list_jobs(self):
            raise RuntimeError("Request failed with status code 500: Traceback\nGCS is dead")

    with pytest.raises(ServiceLost, match=r"http://ray-head:8265: GCS is dead\. "):
        list_jobs(Gone())


def test_a_connection_that_is_lost_is_told_in_few_words():
    class Lost(Client):
        def list_jobs(self):
            raise ConnectionError("HTTPConnectionPool(host='ray-head', port=8265): Max retries")

    with pytest.raises(ServiceLost, match="8265: the cluster does not answer any more"):
        list_jobs(Lost())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"code": 0}, "maze-1: finished, exit code 0"),
        ({"status": "RUNNING", "code": None}, "maze-1: running"),
        ({"status": "FAILED", "code": 2}, "maze-1: refused, exit code 2"),
        (
            {"status": "FAILED", "code": 75},
            f"maze-1: interrupted, exit code 75. To go on: {COMMAND} --resume",
        ),
        (
            {"status": "STOPPED", "code": None},
            f"maze-1: stopped before it could save. To start again: {COMMAND} "
            "(with --resume from what was saved earlier, if it was)",
        ),
        (
            {"status": "FAILED", "code": -9},
            f"maze-1: killed, exit code 137. To go on: {COMMAND} --resume",
        ),
        (
            {"status": "FAILED", "code": None},
            f"maze-1: lost: The node died. To go on: {COMMAND} --resume",
        ),
    ],
)
def test_one_line_tells_how_a_job_ended_and_what_to_type(changes, text):
    assert describe_end(only_job(**changes)) == text


def test_the_table_has_a_row_per_job():
    table = render_jobs(
        [only_job(code=0), only_job(status="PENDING", code=None, start=None, end=None)]
    )
    columns = {column.header: list(column.cells) for column in table.columns}
    assert columns["job"] == ["maze-1", "maze-1"]
    assert columns["status"] == ["finished", "waiting"]
    assert columns["exit code"] == ["0", ""]
    assert columns["duration"] == ["2s", ""]
    assert columns["started"][1] == ""
