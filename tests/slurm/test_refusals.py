"""What cannot work fails within a minute, with one line that says why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import SUITE
from researcher import (
    IMAGE,
    REFUSED,
    SHARED,
    SMOKE,
    Researcher,
    leftovers,
    the_error,
    wait_for_nothing_left,
)
from slurm import Slurm

pytestmark = pytest.mark.usefixtures("image")


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
        host.run(["umount", "--lazy", where])  # the job's last processes may just be ending


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


def test_bar_each_within_a_minute() -> None:
    """The tests above, and those of test_before_the_image.py, have measured them."""
    if len(REFUSED) < 10:
        pytest.skip(f"{len(REFUSED)} of them have run")
    slowest = max(REFUSED.values())
    SUITE.record("what cannot work", "one line within 60 s", REFUSED, slowest < 60)
    assert slowest < 120  # a bar that is missed on a slow machine is recorded; what hangs is told


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
