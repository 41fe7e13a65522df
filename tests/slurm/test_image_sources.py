"""The image for jobs is also taken from a Docker Engine or a registry, by an ordinary user.

All other tests run in the one of an archive. These take the Dockerfile's base image, which is
small: it is made into an image for jobs too, and then refused, for a run needs more than it has.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from engine import Engine
from image import base_image
from registry import ADDRESS, running_registry
from researcher import SHARED, Researcher
from slurm import Slurm

FILE = f"{SHARED}/small.sif"
NAME = "team/small:1"


def make(ada: Researcher, source: str, env: dict[str, str]) -> str:
    """Returns how Apptainer calls the source, of which an image was made and refused."""
    done = ada.type("cluster/setup_cluster_image.sh", source, FILE, env=env, check=False)
    assert done.returncode == 2, done.stderr
    # What `env` says in the new image, after what Apptainer said of its devices.
    error = done.stderr.splitlines()[-1].replace("\u2018", "'").replace("\u2019", "'")
    assert error.startswith("error: the image lacks what a run needs: "), done.stderr
    assert error.endswith("env: 'python': No such file or directory")
    assert [path.name for path in (ada.slurm.home / "shared").glob("small*")] == []
    return done.stdout.partition(f"making {FILE} from ")[2].strip()


pytestmark = pytest.mark.usefixtures("image")  # which is made of that base


def test_an_image_is_taken_from_a_docker_engine(
    ada: Researcher, slurm: Slurm, engine: Engine, testbed: Path
) -> None:
    engine.docker("tag", base_image(), NAME)
    path = f"{slurm.env['PATH']}:{testbed}/docker/root/usr/bin"
    env = {"DOCKER_HOST": engine.env["DOCKER_HOST"], "PATH": path}
    assert make(ada, NAME, env) == f"docker-daemon:{NAME}"


def test_an_image_is_pulled_from_a_registry(
    ada: Researcher, slurm: Slurm, engine: Engine, testbed: Path, tmp_path: Path
) -> None:
    image = f"{ADDRESS}/{NAME}"
    engine.docker("tag", base_image(), image)
    with running_registry(testbed / "docker", tmp_path, engine.host_command):
        engine.docker("push", image)
    network = f"--net=/proc/{slurm.login.pid}/ns/net"  # the login node has a /tmp of its own
    with running_registry(testbed / "docker", tmp_path, lambda c: ["nsenter", network, *c]):
        assert make(ada, f"docker://{image}", {"APPTAINER_NOHTTPS": "1"}) == f"docker://{image}"
