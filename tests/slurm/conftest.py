"""One SLURM cluster of two nodes, one image and two users for all tests here."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `researcher`

from bars import Suite
from engine import Engine, running_engine
from image import build_flags, import_base_image
from repository import ROOT, copy_repository
from researcher import IMAGE, SHARED, Researcher, wait_for_nothing_left
from slurm import USERS, Slurm, running_slurm, why_not_seen_by_hosts

SUITE = Suite("make test-slurm", 20 * 60)


@pytest.fixture(scope="session")
def slurm(testbed: Path) -> Iterator[Slurm]:
    SUITE.start()
    for path in (ROOT, Path(sys.prefix)):
        if problem := why_not_seen_by_hosts(path):
            pytest.exit(problem, returncode=2)
    with running_slurm(testbed / "apptainer", num_nodes=2) as slurm:
        shared = slurm.home / "shared"
        shared.mkdir()
        shared.chmod(0o1777)
        (shared / "cache").mkdir()
        (shared / "cache").chmod(0o777)
        yield slurm


@pytest.fixture(scope="session")
def engine(testbed: Path) -> Iterator[Engine]:
    """A Docker Engine that ada may use."""
    with running_engine(testbed / "docker") as engine:
        os.chown(engine.socket, USERS["ada"], -1)
        yield engine


@pytest.fixture(scope="session")
def archive(
    slurm: Slurm, engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Future[Path]]:
    """What `docker save` wrote of the image that the unmodified Dockerfile makes.

    It is under way while the tests run that need no image.
    """
    clone = tmp_path_factory.mktemp("clone")
    copy_repository(clone)

    def build() -> Path:
        import_base_image(engine)
        engine.on_host(["make", "build"], cwd=clone, env={"DOCKER_BUILD_FLAGS": build_flags()})
        archive = slurm.home / "shared" / "empo_rllib.tar"
        engine.docker("save", "--output", archive, "empo_rllib:latest")
        archive.chmod(0o644)
        return archive

    with ThreadPoolExecutor() as pool:
        yield pool.submit(build)


@pytest.fixture(scope="session")
def ada(slurm: Slurm) -> Researcher:
    return Researcher(slurm, "ada")


@pytest.fixture(scope="session")
def ben(slurm: Slurm) -> Researcher:
    return Researcher(slurm, "ben")


@pytest.fixture(scope="session")
def image(slurm: Slurm, ada: Researcher, archive: Future[Path]) -> float:
    """The image that jobs run in, made by an ordinary user; the seconds that it took."""
    file = archive.result()
    started = time.monotonic()
    ada.type("cluster/setup_cluster_image.sh", f"{SHARED}/{file.name}", IMAGE)
    slurm.login.run(["chmod", "--recursive", "a+rwX", f"{SHARED}/cache"])
    file.unlink()
    return time.monotonic() - started


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
        item.add_marker(pytest.mark.timeout(1800, func_only=True))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    SUITE.show(terminalreporter)
