"""`cluster/verify_setup.sh` on machines made of stubs: what it says is missing, and what to do."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from ports import free_port

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "cluster" / "verify_setup.sh"
TOOLS = (
    "awk",
    "bash",
    "cat",
    "dirname",
    "find",
    "grep",
    "head",
    "id",
    "mktemp",
    "rm",
    "sed",
    "sort",
)
TOOLS += ("tail", "timeout")
CHECKS = ("docker", "compose", "gpu", "disk", "ports", "results", "python", "imports", "training")
PORTS = ("DASHBOARD", "TENSORBOARD", "JUPYTER", "DEBUGPY", "PROMETHEUS", "GRAFANA")

DOCKER = """
case "$*" in
  version*) echo "WARNING: of the client" >&2; test -z "${NO_ENGINE-}" && echo 28.1.0 ;;
  "compose version --short") test -n "${COMPOSE-2.26.1-4}" && echo "${COMPOSE-2.26.1-4}" ;;
  "image inspect"*) test -n "${BUILT-}" ;;
  info*) echo "${DOCKER_ROOT-/}" ;;
  "ps --filter label="*) echo "${SAME_NAME-}" ;;
  ps*) echo "${PUBLISHED_BY-}" ;;
  "run --rm --gpus all"*) test -n "${GPU_IN_CONTAINER-}" ;;
  run*"import empo_rllib"*) echo "versions of the image" ;;
  run*empo_rllib.tune*) ;;
  *) echo "the stub does not know: docker $*" >&2; exit 99 ;;
esac
"""
DENIED = """
case "$*" in
  version*) echo "permission denied while trying to connect to the socket" >&2; exit 1 ;;
  compose*) echo 2.26.1 ;;
esac
"""
DF = "printf 'Filesystem\\nnone 0 0 %s 100%% /\\n' ${FREE_KB-104857600}"
# As Python of .venv, and on PATH.
PYTHON = """
case "$*" in
  *"import platform"*) echo "${PYTHON_VERSION-3.12.3}" ;;
  *"import ensurepip"*) test -z "${NO_VENV_MODULE-}" ;;
  *"import empo_rllib"*) echo versions; echo "${BROKEN-}" >&2; test -z "${BROKEN-}" ;;
  *empo_rllib.tune*) echo "${UNTRAINABLE-}" >&2; test -z "${UNTRAINABLE-}" ;;
  *) echo "the stub does not know: python $*" >&2; exit 99 ;;
esac
"""


class Machine:
    """A clone of the repository and a PATH that holds nothing but what is put there."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "repository"
        self.programs = folder / "bin"
        self.temp = folder / "temp"
        for made in (self.repository / "cluster", self.repository / "results", self.programs):
            made.mkdir(parents=True)
        self.temp.mkdir()
        shutil.copy(SCRIPT, self.repository / "cluster")
        for tool in TOOLS:
            (self.programs / tool).symlink_to(str(shutil.which(tool)))
        self.env = {
            "PATH": str(self.programs),
            "TMPDIR": str(self.temp),
            "USER_ID": str(os.getuid()),
            "GROUP_ID": str(os.getgid()),
            **{f"{name}_PORT": str(free_port()) for name in PORTS},
        }

    def add(self, path: str, text: str) -> None:
        """Adds an executable to PATH, or where an absolute path says."""
        program = self.programs / path
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!{shutil.which('bash')}\n{text}")
        program.chmod(0o755)

    def add_venv(self) -> None:
        self.add(str(self.repository / ".venv/bin/python"), PYTHON)

    def verify(self, *arguments: str, **env: str) -> tuple[int, list[str]]:
        """Runs the script in another folder; returns its exit code and lines."""
        script = self.repository / "cluster" / SCRIPT.name
        done = subprocess.run(
            [script, *arguments],
            cwd=self.temp,
            env={**self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert list(self.temp.iterdir()) == [], "something was left behind"
        return done.returncode, done.stdout.splitlines()

    def line(self, check: str, **env: str) -> str:
        """Returns the line of one check, which tells whether the exit code must be 1."""
        code, lines = self.verify(**env)
        found = [line for line in lines if line[6:].startswith(check)]
        assert len(found) == 1, lines
        assert code == (1 if any(line.startswith("FAIL") for line in lines) else 0)
        return found[0]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine where nothing is amiss, without a GPU."""
    machine = Machine(tmp_path)
    machine.add("df", DF)
    machine.add("docker", DOCKER)
    machine.add("python3", PYTHON)
    machine.add_venv()
    return machine


def test_a_machine_where_nothing_is_amiss(machine: Machine) -> None:
    code, lines = machine.verify()
    assert code == 0
    assert [line for line in lines if line[:6] not in ("ok    ", "skip  ")] == [lines[-1]]
    assert lines[-1] == "All that training needs is here."
    checks = {line[6:15].strip() for line in lines[:-1]}
    assert checks == set(CHECKS)


def test_no_docker(machine: Machine) -> None:
    (machine.programs / "docker").unlink()
    code, lines = machine.verify()
    assert code == 1
    assert "install Docker Engine" in lines[0]
    assert [line[:4] for line in lines].count("FAIL") == 1
    assert lines[-1] == "failed: 1"


def test_an_engine_that_does_not_answer(machine: Machine) -> None:
    line = machine.line("docker", NO_ENGINE="1")
    assert line == "FAIL  docker    the engine does not answer: sudo systemctl start docker"


def test_an_engine_that_the_user_may_not_use(machine: Machine) -> None:
    machine.add("docker", DENIED)
    assert "usermod -aG docker" in machine.line("docker")


@pytest.mark.parametrize("version", ["2.20.0", "v2.26.1-4", "5.1.3"])
def test_a_compose_that_does(machine: Machine, version: str) -> None:
    assert machine.line("compose", COMPOSE=version).startswith("ok")


@pytest.mark.parametrize("version", ["2.9.0", "v2.19.1"])
def test_a_compose_that_is_too_old(machine: Machine, version: str) -> None:
    line = machine.line("compose", COMPOSE=version)
    assert line.startswith("FAIL")
    assert f"version {version.lstrip('v')}, needed is 2.20 or newer" in line


def test_no_compose(machine: Machine) -> None:
    assert "install docker-compose-plugin" in machine.line("compose", COMPOSE="")


def nvidia_smi(driver: str) -> str:
    return f"echo {driver}"


def test_no_gpu(machine: Machine) -> None:
    assert machine.line("gpu") == "skip  gpu       no nvidia-smi: training runs on CPU"


def test_a_driver_that_does_not_answer(machine: Machine) -> None:
    machine.add("nvidia-smi", "echo 'Driver/library version mismatch'; exit 18")
    assert "FAIL  gpu       nvidia-smi fails" in machine.line("gpu")


def test_an_old_driver(machine: Machine) -> None:
    machine.add("nvidia-smi", nvidia_smi("535.183.01"))
    line = machine.line("gpu")
    assert line.startswith("FAIL  gpu       driver 535.183.01 is older than 580")
    assert "TORCH_INDEX_URL" in line


def test_a_gpu_without_its_container_toolkit(machine: Machine) -> None:
    machine.add("nvidia-smi", nvidia_smi("580.65.06"))
    line = machine.line("gpu")
    assert line.startswith("FAIL")
    assert "install nvidia-container-toolkit" in line


def test_a_gpu_before_the_image_is_built(machine: Machine) -> None:
    machine.add("nvidia-smi", nvidia_smi("580.65.06"))
    machine.add("nvidia-container-runtime-hook", "")
    assert machine.line("gpu").startswith("ok    gpu       driver 580.65.06")


def test_a_gpu_in_a_container(machine: Machine) -> None:
    machine.add("nvidia-smi", nvidia_smi("580.65.06"))
    assert machine.line("gpu", BUILT="1", GPU_IN_CONTAINER="1").endswith("seen in a container")
    assert "a container sees no GPU" in machine.line("gpu", BUILT="1")


def test_a_full_disk(machine: Machine) -> None:
    _, lines = machine.verify(FREE_KB="1048576")
    images, results = (line for line in lines if line[6:].startswith("disk"))
    assert "FAIL  disk      1 GB free for images in /, needed are 25 GB" in images
    assert "needed are 2 GB: make room" in results


def test_docker_data_on_another_machine(machine: Machine) -> None:
    machine.add("df", 'test -e "$2" && echo && echo none 0 0 104857600')
    _, lines = machine.verify(DOCKER_ROOT="/nowhere/docker")
    assert any(line.startswith("skip  disk") and "/nowhere/docker" in line for line in lines)


def test_a_port_in_use(machine: Machine) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        line = machine.line("ports", GRAFANA_PORT=port)
        assert line.startswith(f"FAIL  ports     port {port} is in use")
        assert "GRAFANA_PORT=" in line
        ours = machine.line("ports", GRAFANA_PORT=port, PUBLISHED_BY=str(machine.repository))
        assert ours.startswith("ok")


def test_what_containers_need_is_told_only_where_it_is_missing(machine: Machine) -> None:
    assert machine.verify("--containers") == (0, [])
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        assert machine.verify("--containers", GRAFANA_PORT=port) == (0, [])
        code, lines = machine.verify("--containers", DASHBOARD_PORT=port)
    assert code == 1
    assert [line[:15].split() for line in lines] == [["FAIL", "ports"]]


def test_another_clone_with_the_same_name_is_not_replaced(machine: Machine) -> None:
    ours = {"SAME_NAME": str(machine.repository)}
    assert machine.verify("--containers", **ours) == (0, [])
    code, lines = machine.verify("--containers", SAME_NAME="/home/other/clone")
    assert code == 1
    assert lines[0].startswith("FAIL  project   /home/other/clone runs a cluster")
    assert "COMPOSE_PROJECT_NAME=empo_rllib_2" in lines[0]


def test_settings_come_from_the_env_file_too(machine: Machine) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        (machine.repository / ".env").write_text(f"USER_ID=1\nDASHBOARD_PORT={port}\n")
        del machine.env["DASHBOARD_PORT"]
        assert f"port {port} is in use" in machine.line("ports")


def test_results_that_containers_may_not_write(machine: Machine) -> None:
    (machine.repository / "results").chmod(0o755)
    line = machine.line("results", USER_ID="54321", GROUP_ID="54321")
    assert line.startswith("FAIL  results   containers run as user 54321")
    assert "make up" in line
    (machine.repository / "results").chmod(0o777)
    assert machine.line("results", USER_ID="54321", GROUP_ID="54321").startswith("ok")


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        ({"PYTHON_VERSION": "3.10.12"}, "python3 is 3.10.12: install Python 3.11 to 3.13"),
        ({"PYTHON_VERSION": "3.14.0"}, "python3 is 3.14.0: install Python 3.11 to 3.13"),
        ({"NO_VENV_MODULE": "1"}, "python3 has no venv module: install python3-venv"),
        ({"PYTHON": "python9"}, "no python9: install Python 3.11 to 3.13"),
    ],
)
def test_python_is_needed_only_where_containers_cannot_run(
    machine: Machine, env: dict[str, str], problem: str
) -> None:
    assert machine.line("python", **env).startswith(f"skip  python    {problem}")
    (machine.programs / "docker").unlink()
    assert machine.line("python", **env).startswith(f"FAIL  python    {problem}")


def test_imports_that_fail(machine: Machine) -> None:
    line = machine.line("imports", BROKEN="ImportError: no libtorch")
    assert line.startswith("FAIL  imports   in .venv: ImportError: no libtorch")
    assert "make" in line


def test_a_training_that_fails(machine: Machine) -> None:
    line = machine.line("training", UNTRAINABLE="error: one trial needs 3 CPU")
    assert line.startswith("FAIL  training  tune_configs/smoke.yaml in .venv: error: one trial")


def test_without_an_environment_the_image_is_tried(machine: Machine) -> None:
    shutil.rmtree(machine.repository / ".venv")
    assert "versions of the image" in machine.line("imports", BUILT="1")
    assert machine.line("training", BUILT="1").endswith("in the image")


def test_neither_environment_nor_image(machine: Machine) -> None:
    shutil.rmtree(machine.repository / ".venv")
    assert "make install, or make build" in machine.line("imports")
    assert machine.line("training").startswith("skip")


def test_ctrl_c_leaves_nothing_behind(machine: Machine) -> None:
    started = machine.repository / "started"
    sleep = f"echo >{started}; exec {shutil.which('sleep')} 60"
    machine.add(str(machine.repository / ".venv/bin/python"), sleep)
    script = machine.repository / "cluster" / SCRIPT.name
    with subprocess.Popen(
        [script], env=machine.env, stdout=subprocess.DEVNULL, start_new_session=True
    ) as running:
        while not started.exists():
            assert running.poll() is None
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGINT)  # what a terminal does
        assert running.wait(30) == 130
    assert list(machine.temp.iterdir()) == []


def test_help_and_wrong_arguments(machine: Machine) -> None:
    code, lines = machine.verify("--help")
    assert code == 0
    assert lines[0].startswith("usage: cluster/verify_setup.sh")
    code, lines = machine.verify("--quick")
    assert code == 2
    assert len(lines) == 1
    assert "--quick" in lines[0]
