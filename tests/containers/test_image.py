"""The image: who it runs as, what it writes, and what a change of the code costs."""

from __future__ import annotations

import json
import time

import pytest
from clone import HOST_USER, Clone
from conftest import SUITE
from engine import Engine
from image import base_image, find_wheels

IMAGE = "empo_rllib:latest"
LOCKED_DOWN = (
    *("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none"),
    *("--tmpfs=/tmp:exec,mode=1777", "--shm-size=512m"),
)
DESCRIBE = """python -c '
import json, multigrid.envs
from empo_rllib.experiment.provenance import describe_session
print(json.dumps(describe_session({}, 1)))'"""

pytestmark = pytest.mark.usefixtures("image")


@pytest.fixture(scope="module")
def facts(engine: Engine) -> dict:
    return json.loads(engine.docker("image", "inspect", IMAGE).stdout)[0]


def in_image(engine: Engine, command: str, *options: str, image: str = IMAGE) -> str:
    """Returns what a command prints in a container of its own.

    The engine gives the output of a container up two seconds after its end, even if nothing of it
    has been read yet on a busy machine.
    """
    script = f"({command}\n); code=$?; sleep 1; exit $code"
    return engine.docker("run", "--rm", *options, image, "sh", "-c", script).stdout


def test_it_runs_as_a_user_of_its_own_though_the_base_has_one_with_that_id(engine: Engine) -> None:
    in_base = in_image(engine, "id --name --user 1000", image=base_image())
    assert in_base.strip() == "ubuntu"
    assert in_image(engine, "id --user; id --name --user").split() == ["1000", "appuser"]


def test_it_runs_locked_down_as_a_user_it_does_not_know(engine: Engine) -> None:
    """That it trains so, too, is seen by cluster/verify_setup.sh (test_bad_input.py)."""
    output = in_image(engine, DESCRIBE, *LOCKED_DOWN, "--user=4321:4321")
    code = json.loads(output)["code"]
    assert (code["folder"], code["from"]) == ("/workspace", "image")
    assert len(code["image_revision"]) == 40 or code["image_revision"] == "unknown"


def test_it_has_labels_a_health_check_an_init_and_mpi(engine: Engine, facts: dict) -> None:
    labels = facts["Config"]["Labels"]
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}licenses"] == "Apache-2.0"
    assert (
        labels[f"{prefix}version"]
        == in_image(engine, "python -c 'import empo_rllib; print(empo_rllib.__version__)'").strip()
    )
    assert facts["Config"]["Healthcheck"]["Test"] == ["CMD", "cluster/containers/healthcheck.sh"]
    assert facts["Config"]["Entrypoint"] == ["tini", "-s", "--"]
    assert "Open MPI" in in_image(engine, "mpirun --version")


def test_the_health_check_passes_where_no_ray_node_is(engine: Engine) -> None:
    assert in_image(engine, "cluster/containers/healthcheck.sh && echo healthy") == "healthy\n"


def test_packages_are_those_of_the_constraints(engine: Engine, clone: Clone) -> None:
    frozen = in_image(engine, "/opt/venv/bin/python -m pip freeze --exclude-editable").split()
    pins = dict(
        line.split("==")
        for line in (clone.folder / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    )
    installed = dict(line.split("==") for line in frozen if "==" in line)
    wrong = {k: v for k, v in installed.items() if v.split("+")[0] != pins.get(k, v)}
    assert wrong == {}
    assert {"ray", "torch", "numba", "pettingzoo"} < installed.keys()


def test_neither_secrets_nor_results_get_into_the_image(engine: Engine) -> None:
    present = set(in_image(engine, "ls -A /workspace").split())
    assert {"empo_rllib", "tune_configs", "cluster"} < present
    assert present & {".env", ".git", "results", ".venv", "tests"} == set()


def test_a_folder_of_wheels_replaces_downloads(engine: Engine) -> None:
    wheels = find_wheels()
    if wheels is None or not list(wheels.glob("torch-*.whl")):
        pytest.skip("this machine's pip knows no folder of wheels with torch in it")
    version = in_image(engine, "python -c 'import torch; print(torch.__version__)'").strip()
    assert list(wheels.glob(f"torch-{version}-*.whl"))


def test_bar_user_capabilities_root_file_system(cluster: Clone) -> None:
    measured = {}
    for service in ("ray-head", "ray-worker"):
        container = cluster.container(service)
        status = cluster.engine.docker("exec", container, "cat", "/proc/1/status").stdout
        values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        written = cluster.engine.docker("exec", container, "touch", "/opt/x", check=False)
        measured[service] = {
            "uid": int(values["Uid"].split()[0]),
            "capabilities": int(values["CapEff"], 16) | int(values["CapBnd"], 16),
            "no_new_privileges": values["NoNewPrivs"].strip(),
            "root": "read-only" if "Read-only" in written.stderr else "writable",
        }
    good = {"uid": HOST_USER, "capabilities": 0, "no_new_privileges": "1", "root": "read-only"}
    met = all(value == good for value in measured.values())
    SUITE.record("user, capabilities, root file system", "not root, none, read-only", measured, met)
    assert met, measured


def test_bar_a_code_change_rebuilds_on_a_warm_cache(clone: Clone) -> None:
    module = clone.folder / "empo_rllib" / "errors.py"
    before = module.read_text()
    module.write_text(before + "\n# changed\n")
    try:
        started = time.monotonic()
        done = clone.type("make", "build", env={"BUILDKIT_PROGRESS": "plain"})
        seconds = round(time.monotonic() - started, 1)
        assert "# changed" in in_image(clone.engine, "tail -n 1 empo_rllib/errors.py")
    finally:
        module.write_text(before)
        clone.type("make", "build")
    installs = [line for line in done.stderr.splitlines() if "pip install" in line]
    numbers = {line.split()[0] for line in installs}
    cached = [f"{number} CACHED" in done.stderr for number in numbers]
    SUITE.record("code change, rebuild on a warm cache", "under 10 s", seconds, seconds < 10)
    assert installs
    assert all(cached), done.stderr
