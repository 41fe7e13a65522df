"""What goes wrong on a user's machine is one line that says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from clone import HOST_USER, Clone
from engine import Engine
from repository import copy_repository, own


@pytest.fixture
def stubs(open_folder: Path, request: pytest.FixtureRequest) -> Path:
    """A folder for stand-ins of programs."""
    folder = open_folder / request.node.name
    folder.mkdir()
    return folder


def stub(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)


def the_error(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_no_docker(clone: Clone, stubs: Path) -> None:
    for program in ("bash", "dirname", "make", "id", "sed", "tail", "env"):
        (stubs / program).symlink_to(Path("/usr/bin") / program)
    done = clone.type("env", f"PATH={stubs}", "/usr/bin/make", "up", check=False)
    assert the_error(done).startswith("FAIL  docker    no docker command: install Docker Engine")


def test_no_engine(clone: Clone) -> None:
    done = clone.type("make", "up", check=False, env={"DOCKER_HOST": "unix:///nowhere.sock"})
    assert the_error(done).startswith("FAIL  docker    the engine does not answer")


def test_an_old_compose(clone: Clone, stubs: Path) -> None:
    stub(stubs, "docker", 'if [ "$1 $2" = "compose version" ]; then echo 2.3.3; fi')
    done = clone.type(
        "make", "up", check=False, env={"PATH": f"{stubs}:{clone.engine.env['PATH']}"}
    )
    error = the_error(done)
    assert error.startswith("FAIL  compose   version 2.3.3, needed is 2.20 or newer")


def test_a_port_in_use(clone: Clone) -> None:
    listen = "import socket; s = socket.create_server(('127.0.0.1', 18999)); print(); input()"
    command = clone.engine.host_command([sys.executable, "-uc", listen])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout.readline() == b"\n"  # it listens
            done = clone.type("make", "up", check=False, env={"DASHBOARD_PORT": "18999"})
        finally:
            other.kill()
    error = the_error(done)
    assert error.startswith("FAIL  ports     port 18999 is in use")
    assert error.endswith("DASHBOARD_PORT=28999")


def test_push_without_a_name(clone: Clone) -> None:
    assert "make push IMAGE=" in the_error(clone.type("make", "push", check=False))


@pytest.fixture
def foreign_clone(engine: Engine, image: float, stubs: Path) -> Iterator[tuple[Path, dict]]:
    """A clone that user 1000, which containers run as by default, may only read."""
    folder = stubs / "foreign"
    copy_repository(folder)
    own(folder, HOST_USER)
    env = {"COMPOSE_PROJECT_NAME": "foreign", "DASHBOARD_PORT": "18266"}
    try:
        yield folder, env
    finally:
        engine.on_host(["docker", "compose", "down", "--volumes"], cwd=folder, env=env)


def test_a_results_folder_that_cannot_be_written(
    engine: Engine, foreign_clone: tuple[Path, dict]
) -> None:
    folder, env = foreign_clone
    up = ["docker", "compose", "up", "ray-head", "ray-worker"]
    done = engine.on_host(up, cwd=folder, env=env, check=False)
    assert done.returncode != 0
    told = [line for line in (done.stdout + done.stderr).splitlines() if "error:" in line]
    assert len(told) == 1, done.stdout
    assert "/workspace/results cannot be written by user 1000" in told[0]
    assert told[0].endswith("type: make up")
    assert not (folder / "results").exists()


def test_make_up_mends_it(engine: Engine, foreign_clone: tuple[Path, dict]) -> None:
    folder, env = foreign_clone
    home = {"HOME": str(folder.parent)}
    engine.on_host(["make", "up"], cwd=folder, env={**env, **home}, user=HOST_USER)
    assert (folder / ".env").read_text().split() == [
        f"USER_ID={HOST_USER}",
        f"GROUP_ID={HOST_USER}",
    ]
    assert os.stat(folder / "results").st_uid == HOST_USER


def test_the_clusters_errors_reach_the_user(cluster: Clone) -> None:
    submit = ("python", "-m", "empo_rllib", "submit", "--config", "tune_configs/smoke.yaml")
    options = ("--set", "name=too-big", "--set", "resources.num_env_runners=9", "--follow")
    done = cluster.in_head(*submit, *options, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "one trial needs 10 CPU" in done.stdout + done.stderr
    unknown = cluster.in_head("python", "-m", "empo_rllib", "logs", "nobody", check=False)
    assert unknown.returncode == 2
    assert "nobody: no such job" in unknown.stderr


def test_verify_setup_passes_with_an_engine(clone: Clone, image: float) -> None:
    done = clone.type("cluster/verify_setup.sh", check=False)
    lines = {tuple(line.split()[:2]) for line in done.stdout.splitlines()}
    assert {("ok", "docker"), ("ok", "compose"), ("ok", "training")} <= lines, done.stdout
