"""What needs no image, while that is made: mistakes, scripts, a job without a container."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import SUITE
from repository import ROOT, wait_until
from researcher import SMOKE, Job, Researcher, the_error, wait_for_nothing_left
from slurm import Slurm

pytestmark = pytest.mark.usefixtures("archive")


@pytest.fixture(autouse=True)
def nothing_left(slurm: Slurm) -> Iterator[None]:
    yield
    wait_for_nothing_left(slurm, list(slurm.nodes))


def test_a_missing_image(ada: Researcher) -> None:
    job = ada.sbatch("--", *SMOKE, env={"EMPO_RLLIB_SIF": "/home/ada/no.sif"}).check(2)
    assert "the image /home/ada/no.sif is missing: cluster/setup_cluster_image.sh" in the_error(job)


def test_a_module_that_is_not_there(ada: Researcher) -> None:
    job = ada.sbatch("--", *SMOKE, env={"EMPO_RLLIB_MODULES": "apptainer/9"}).check(2)
    assert "EMPO_RLLIB_MODULES = apptainer/9 cannot be loaded" in the_error(job)


def fake_venv(ada: Researcher, ray: str, python: str = "exec sleep 1000") -> dict[str, str]:
    """A virtual environment whose `ray` and `python` are scripts."""
    programs = ada.folder.parent / "fake" / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    for name, script in (("ray", ray), ("python", python)):
        (programs / name).write_text(f"#!/bin/bash\n{script}\n")
        (programs / name).chmod(0o755)
    return {"EMPO_RLLIB_VENV": "/home/ada/fake"}


def test_a_head_that_does_not_start(ada: Researcher) -> None:
    env = fake_venv(ada, "echo 'ERR x.py:1 -- the port is taken'; exit 3")
    job = ada.sbatch("--", "--no-container", *SMOKE, env=env).check(1)
    assert "the Ray head did not start: the port is taken" in the_error(job)


def test_a_head_that_hangs(ada: Researcher) -> None:
    env = fake_venv(ada, "echo 'waiting for its files'; exec sleep 1000")
    env["EMPO_RLLIB_START_S"] = ""  # the default
    job = ada.sbatch("--", "--no-container", *SMOKE, env=env).check(1)
    assert "the Ray head did not start within 45 s" in the_error(job)


@pytest.mark.parametrize("code", [0, 2])
def test_an_experiment_that_ends_before_the_head_is_there(ada: Researcher, code: int) -> None:
    env = fake_venv(ada, "exec sleep 1000", f"echo done; exit {code}")
    job = ada.sbatch("--nodes=2", "--", "--no-container", *SMOKE, env=env).check(code)
    assert "done" in job.log
    assert "error: " not in job.log


def test_a_job_that_is_cancelled_before_the_head_is_there(ada: Researcher) -> None:
    job = ada.sbatch("--", "--no-container", *SMOKE, env=fake_venv(ada, "exec sleep 1000"))
    wait_until(lambda: "job " in job.log, "the job to start")
    ada.type("scancel", job.number)
    job.wait()
    assert (job.state, job.exit_code) == ("CANCELLED", 75), job.log
    assert " node1: error: " not in job.log


def test_a_job_from_elsewhere(slurm: Slurm, ada: Researcher) -> None:
    command = ["sbatch", "--parsable", "--output=/home/ada/elsewhere.out"]
    script = "/home/ada/empo_rllib/cluster/ray_slurm.sh"
    done = slurm.on_login("ada", *command, script, cwd=Path("/home/ada"))
    Job(ada, done.stdout.strip()).check(2)
    log = (slurm.home / "ada" / "elsewhere.out").read_text()
    assert log == "error: /home/ada is not the repository: type sbatch in it\n"


def test_typed_without_sbatch(ada: Researcher) -> None:
    done = ada.type("cluster/ray_slurm.sh", "--set", "seed=1", check=False)
    assert done.returncode == 2
    assert "Type: sbatch cluster/ray_slurm.sh --set seed=1" in done.stderr


def test_bar_shellcheck() -> None:
    scripts = [path for part in ("cluster", "tests") for path in (ROOT / part).rglob("*.sh")]
    shellcheck = Path(sys.prefix, "bin", "shellcheck")
    done = subprocess.run([shellcheck, *scripts], capture_output=True, text=True)
    measured = {"scripts": len(scripts), "findings": done.stdout}
    SUITE.record("shellcheck", "clean", measured, done.returncode == 0)
    assert done.returncode == 0, done.stdout


def test_submit_without_a_container(slurm: Slurm) -> None:
    """`submit --slurm`, as root, who may use the .venv of these tests."""
    root = Researcher(slurm, "root")
    submit = [sys.executable, "-m", "empo_rllib", "submit", "--slurm", "--no-container"]
    env = {"EMPO_RLLIB_VENV": sys.prefix, "EMPO_RLLIB_SBATCH_OPTIONS": "--comment='a site'"}
    options = ("--nodes", "2", "--cpus-per-node", "3", "--time", "10:00")
    # Kernels would have to be compiled for this clone.
    run = (*SMOKE, "--set", "name=venv", "--set", "resources.sampler=python")
    done = root.type(*submit, *options, *run, env=env)
    job = Job(root, re.search(r"Submitted batch job (\d+)", done.stdout)[1]).check()
    facts = job.facts()
    assert (facts["JobName"], facts["TimeLimit"], facts["NumNodes"]) == ("venv", "00:10:00", "2")
    (session,) = root.sessions("venv")
    assert session["hardware"]["cluster_resources"]["CPU"] == 6
    assert "from" not in session["code"]  # no image's
    assert root.summary("venv")["status"] == "finished"
