"""What can be started beside the cluster: TensorBoard and notebooks."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from clone import Clone
from repository import wait_until


def status(cluster: Clone, url: str, *options: str) -> str:
    """Returns the HTTP status that the host sees."""
    command = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]
    return cluster.engine.on_host([*command, *options, url], check=False).stdout


def test_tensorboard_shows_the_results_folder(cluster: Clone) -> None:
    (cluster.folder / "results").mkdir(exist_ok=True)
    url = "http://127.0.0.1:6006"
    try:
        cluster.compose("up", "--detach", "tensorboard")
        wait_until(lambda: status(cluster, url) == "200", "TensorBoard")
        logdir = cluster.engine.on_host(["curl", "--silent", f"{url}/data/environment"]).stdout
        assert "/workspace/results" in logdir
    finally:
        cluster.compose("rm", "--stop", "--force", "tensorboard")


@pytest.fixture(scope="module")
def notebook(cluster: Clone, dev_image: Future) -> Iterator[Clone]:
    dev_image.result()
    try:
        cluster.compose("up", "--detach", "dev")
        wait_until(lambda: status(cluster, "http://127.0.0.1:8888/login") == "200", "JupyterLab")
        yield cluster
    finally:
        cluster.compose("rm", "--stop", "--force", "dev")


def test_jupyterlab_asks_for_the_clusters_token(notebook: Clone) -> None:
    url = "http://127.0.0.1:8888/api/kernels"
    token = notebook.in_head("cat", "/run/empo_rllib/token").stdout.strip()
    assert status(notebook, url) == "403"
    assert status(notebook, url, "--header", "Authorization: token wrong") == "403"
    assert status(notebook, url, "--header", f"Authorization: token {token}") == "200"
    shown = notebook.compose("logs", "dev")
    assert token not in shown.stdout + shown.stderr
    running = notebook.engine.docker("top", notebook.container("dev"), "-eo", "pid,args").stdout
    assert "jupyter" in running
    assert token not in running


def test_the_tools_for_development_are_there(notebook: Clone) -> None:
    tools = "import debugpy, ipykernel, pytest; print('there')"
    assert "there" in notebook.compose("exec", "-T", "dev", "python", "-c", tools).stdout


def test_a_notebook_reaches_the_cluster(notebook: Clone) -> None:
    done = notebook.compose("exec", "-T", "dev", "python", "-m", "empo_rllib", "jobs")
    assert "error" not in done.stderr
