"""What cannot work fails within a minute, with one line that says why."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from conftest import SUITE
from repository import ROOT
from researcher import IMAGE, SHARED, SMOKE, Job, Researcher, leftovers, wait_for_nothing_left
from slurm import Slurm

MEASURED: dict[str, float] = {}


def the_error(job: Job) -> str:
    """Returns the one line that says why; the seconds that it took are kept for the bar."""
    lines = [line for line in job.log.splitlines() if "error: " in line and "srun: " not in line]
    assert len(lines) == 1, job.log
    assert "Traceback" not in job.log
    facts = job.facts()
    begin, end = (datetime.fromisoformat(facts[name]) for name in ("StartTime", "EndTime"))
    MEASURED[lines[0].partition("error: ")[2][:50]] = (end - begin).total_seconds()
    return lines[0].partition(": ")[2]


@pytest.fixture(autouse=True)
def nothing_left(slurm: Slurm) -> Iterator[None]:
    yield
    wait_for_nothing_left(slurm, list(slurm.nodes))


@pytest.fixture
def full_disk(slurm: Slurm) -> Iterator[str]:
    """A file system without room on both nodes; its path there."""
    folder = slurm.home / "shared" / "full"
    folder.mkdir(exist_ok=True)
    where = f"{SHARED}/full"
    fill = f"mount -t tmpfs -o size=1m,mode=1777 full {where}; head -c 2m /dev/zero > {where}/fill"
    for host in slurm.nodes.values():
        host.run(["bash", "-c", f"{fill}; mkdir {where}/tmp; chmod 1777 {where}/tmp"], check=False)
    yield where
    for host in slurm.nodes.values():
        host.run(["umount", where])


def test_a_missing_image(ada: Researcher) -> None:
    job = ada.sbatch("--", *SMOKE, env={"EMPO_RLLIB_SIF": "/home/ada/no.sif"}).check(2)
    assert "the image /home/ada/no.sif is missing: cluster/setup_cluster_image.sh" in the_error(job)


def test_an_image_that_is_none(ada: Researcher) -> None:
    env = {"EMPO_RLLIB_SIF": "/home/ada/empo_rllib/README.md"}
    job = ada.sbatch("--", *SMOKE, env=env).check(2)
    assert "the image /home/ada/empo_rllib/README.md does not run: " in the_error(job)


def test_no_room_for_rays_files(ada: Researcher, full_disk: str) -> None:
    job = ada.sbatch("--", *SMOKE, env={"EMPO_RLLIB_TMP": f"{full_disk}/tmp"}).check(2)
    assert "EMPO_RLLIB_TMP=/path" in the_error(job)


def test_no_room_for_results(ada: Researcher, full_disk: str) -> None:
    storage = ("--set", f"storage_path={full_disk}/results")
    env = {"EMPO_RLLIB_BIND": full_disk}
    job = ada.sbatch("--", *SMOKE, *storage, env=env).check(2)
    line = the_error(job)
    assert "cannot be written" in line
    assert "No space left on device" in line


def test_no_such_network(ada: Researcher) -> None:
    job = ada.sbatch("--", *SMOKE, env={"EMPO_RLLIB_INTERFACE": "ib0"}).check(2)
    assert "EMPO_RLLIB_INTERFACE = ib0 has no address; interfaces here: eth0 lo" in the_error(job)


def test_too_little_memory_for_ray(ada: Researcher) -> None:
    job = ada.sbatch("--cpus-per-task=1", "--mem-per-cpu=100M", "--", *SMOKE).check(2)
    assert "Ray's object store would have 30 MB, it needs 80 MB" in the_error(job)


def test_fewer_cpus_than_a_trial_needs(ada: Researcher) -> None:
    job = ada.sbatch("--", *SMOKE, "--set", "resources.num_env_runners=20").check(2)
    assert "one trial needs 21 CPU" in the_error(job)


def test_a_module_that_is_not_there(ada: Researcher) -> None:
    job = ada.sbatch("--", *SMOKE, env={"EMPO_RLLIB_MODULES": "apptainer/9"}).check(2)
    assert "EMPO_RLLIB_MODULES = apptainer/9 cannot be loaded" in the_error(job)


def fake_venv(ada: Researcher, ray: str) -> dict[str, str]:
    """A virtual environment whose `ray` is a script."""
    programs = ada.folder.parent / "fake" / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    (programs / "ray").write_text(f"#!/bin/bash\n{ray}\n")
    (programs / "ray").chmod(0o755)
    return {"EMPO_RLLIB_VENV": "/home/ada/fake"}


def test_a_head_that_does_not_start(ada: Researcher) -> None:
    env = fake_venv(ada, "echo 'ERR x.py:1 -- the port is taken'; exit 3")
    job = ada.sbatch("--", "--no-container", *SMOKE, env=env).check(1)
    assert "the Ray head did not start: the port is taken" in the_error(job)


def test_a_head_that_hangs(ada: Researcher) -> None:
    env = fake_venv(ada, "echo 'waiting for its files'; exec sleep 1000")
    job = ada.sbatch("--", "--no-container", *SMOKE, env=env).check(1)
    assert "the Ray head did not start within 45 s" in the_error(job)


def test_bar_each_within_a_minute() -> None:
    """The tests above have measured them."""
    slowest = max(MEASURED.values())
    SUITE.record("what cannot work", "one line within 60 s", MEASURED, slowest < 60)
    assert len(MEASURED) >= 10


def test_bar_shellcheck() -> None:
    scripts = [path for part in ("cluster", "tests") for path in (ROOT / part).rglob("*.sh")]
    shellcheck = Path(sys.prefix, "bin", "shellcheck")
    done = subprocess.run([shellcheck, *scripts], capture_output=True, text=True)
    measured = {"scripts": len(scripts), "findings": done.stdout}
    SUITE.record("shellcheck", "clean", measured, done.returncode == 0)
    assert done.returncode == 0, done.stdout


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


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("/home/ada/no.tar", "no such archive. Make it with: docker save"),
        ("/home/ada/empo_rllib/README.tar", "could not be made into an image"),
        ("empo_rllib:latest", "no Docker engine answers here"),
        ("docker://127.0.0.1:1/team/empo_rllib:1", "could not be made into an image"),
    ],
)
def test_a_bad_source_of_the_image_leaves_the_old_one(
    slurm: Slurm, ada: Researcher, source: str, says: str
) -> None:
    (ada.folder / "README.tar").write_text("no archive\n")
    image = slurm.home / "shared" / Path(IMAGE).name
    before = image.stat().st_mtime_ns
    done = ada.type("cluster/setup_cluster_image.sh", source, IMAGE, check=False)
    assert done.returncode == 2
    assert says in done.stderr
    assert image.stat().st_mtime_ns == before
    assert [p.name for p in image.parent.iterdir() if ".part" in p.name] == []
    assert leftovers(slurm, list(slurm.nodes)) == []
