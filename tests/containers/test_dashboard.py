"""The Ray dashboard in a real browser: it asks for the token, then shows nodes and runs."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from clone import Clone

LOOK = Path(__file__).with_name("look_at_dashboard.py")
# For people to look at; with the other results of these tests.
SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "dashboard"


@pytest.fixture(scope="module")
def job(cluster: Clone) -> str:
    """The id of a run that has finished: the last of those before, or one for this."""
    listed = cluster.in_head("python", "-m", "empo_rllib", "jobs", "--json")
    finished = [job["id"] for job in json.loads(listed.stdout) if job["status"] == "finished"]
    if finished:
        return finished[-1]
    submit = ("python", "-m", "empo_rllib", "submit", "--config", "tune_configs/smoke.yaml")
    done = cluster.in_head(*submit, "--set", "name=looked-at")
    name = done.stdout.strip().splitlines()[-1]
    cluster.in_head("python", "-m", "empo_rllib", "logs", name, "--follow")
    return name


@pytest.fixture(scope="module")
def seen(cluster: Clone, job: str, open_folder: Path) -> dict:
    """What each page showed, by its name."""
    folder = open_folder / "dashboard"
    folder.mkdir()
    token = folder / "token"
    token.write_text(cluster.in_head("cat", "/run/empo_rllib/token").stdout)
    token.chmod(0o600)
    worker = cluster.container("ray-worker")[:12]
    arguments = ["http://127.0.0.1:8265", str(token), str(folder), job, worker]
    done = cluster.engine.on_host([sys.executable, str(LOOK), *arguments])
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for picture in folder.glob("*.png"):
        shutil.copy(picture, SCREENSHOTS)
    return json.loads(done.stdout)


def test_it_shows_nothing_before_the_token_is_given(seen: dict, job: str) -> None:
    assert "token" in seen["seen"]["login"].lower()
    assert job not in seen["seen"]["login"]


def test_it_shows_the_nodes(cluster: Clone, seen: dict) -> None:
    assert "ray-head" in seen["seen"]["cluster"]
    assert cluster.container("ray-worker")[:12] in seen["seen"]["cluster"]


def test_it_shows_the_run_and_its_result(seen: dict, job: str) -> None:
    assert job in seen["seen"]["jobs"]
    assert "SUCCEEDED" in seen["seen"]["job"]


def test_the_browser_reports_no_error(seen: dict) -> None:
    assert seen["errors"] == []
