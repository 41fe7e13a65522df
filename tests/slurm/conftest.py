"""One SLURM cluster of two nodes, one image and two users for all tests here."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

# For `researcher` here, and for what the container tests use too.
sys.path.insert(0, str(Path(__file__).parents[1] / "testbed"))
sys.path.insert(0, str(Path(__file__).parent))

from bars import Suite
from engine import running_engine
from image import build_flags, import_base_image
from repository import copy_repository
from researcher import IMAGE, SHARED, Researcher, wait_for_nothing_left
from slurm import USERS, Slurm, running_slurm

SUITE = Suite("make test-slurm", 20 * 60)


def _testbed() -> Path:
    folder = os.environ.get("TESTBED")
    if not folder:
        pytest.exit("these tests need their test-bed. Type: make test-slurm", returncode=2)
    return Path(folder)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    SUITE.start()
    with running_slurm(_testbed() / "apptainer", num_nodes=2) as slurm:
        shared = slurm.home / "shared"
        shared.mkdir()
        shared.chmod(0o1777)
        (shared / "cache").mkdir()
        (shared / "cache").chmod(0o777)
        yield slurm


@pytest.fixture(scope="session")
def archive(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `docker save` wrote of the image that the unmodified Dockerfile makes."""
    clone = tmp_path_factory.mktemp("clone")
    copy_repository(clone)
    archive = slurm.home / "shared" / "empo_rllib.tar"
    with running_engine(_testbed() / "docker") as engine:
        import_base_image(engine)
        engine.on_host(["make", "build"], cwd=clone, env={"DOCKER_BUILD_FLAGS": build_flags()})
        engine.docker("save", "--output", archive, "empo_rllib:latest")
    archive.chmod(0o644)
    return archive


@pytest.fixture(scope="session")
def image(slurm: Slurm, archive: Path) -> float:
    """The image that all jobs run in, made by an ordinary user; the seconds that it took."""
    started = time.monotonic()
    maker = Researcher(slurm, "ada")
    maker.type("cluster/setup_cluster_image.sh", f"{SHARED}/{archive.name}", IMAGE)
    slurm.login.run(["chmod", "--recursive", "a+rwX", f"{SHARED}/cache"])
    archive.unlink()
    return time.monotonic() - started


@pytest.fixture(scope="session")
def ada(slurm: Slurm, image: float) -> Researcher:
    return Researcher(slurm, "ada")


@pytest.fixture(scope="session")
def ben(slurm: Slurm, image: float) -> Researcher:
    return Researcher(slurm, "ben")


@pytest.fixture
def clean(slurm: Slurm) -> Iterator[None]:
    """Afterwards no job is there any more, and nothing of one on any node."""
    yield
    for user in USERS:
        slurm.on_login(user, "scancel", f"--user={user}", cwd=Path("/home"))
    wait_for_nothing_left(slurm, list(slurm.nodes))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The time limit is each test's own: the first one's set-up makes the image."""
    for item in items:
        item.add_marker(pytest.mark.timeout(600, func_only=True))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    SUITE.show(terminalreporter)
