"""One engine, one image and one cluster for all container tests; the bars are shown at the end."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `clone`

from bars import Suite
from clone import HOST_USER, Clone
from engine import Engine, running_engine
from image import build_flags, import_base_image

SUITE = Suite("make test-containers", 15 * 60)


@pytest.fixture(scope="session")
def engine(testbed: Path) -> Iterator[Engine]:
    """A Docker Engine with a stand-in for the Dockerfile's base image, and nothing else."""
    SUITE.start()
    with running_engine(testbed / "docker", fresh=True) as engine:
        import_base_image(engine)
        yield engine


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A temporary folder that every user may enter; pytest's own are its user's only."""
    with tempfile.TemporaryDirectory(prefix="containers-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="session")
def clone(engine: Engine, open_folder: Path) -> Clone:
    """A fresh clone of a host's ordinary user."""
    home = open_folder / "home"
    home.mkdir()
    os.chown(home, HOST_USER, HOST_USER)
    folder = home / "empo_rllib"
    folder.mkdir()
    return Clone(engine, folder, "empo")


@pytest.fixture(scope="session")
def image(clone: Clone) -> float:
    """The image empo_rllib:latest of the clone; the seconds that the build took."""
    clone.env |= {"DOCKER_BUILD_FLAGS": build_flags()}
    started = time.monotonic()
    clone.type("make", "build")
    return time.monotonic() - started


@pytest.fixture(scope="session")
def dev_image(clone: Clone, image: float) -> Iterator[Future]:
    """The image empo_rllib:dev, which is mostly waited for: under way while other tests run."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit(clone.type, "make", "build-dev")


@pytest.fixture(scope="session")
def cluster(clone: Clone, image: float) -> Iterator[Clone]:
    """The clone's cluster of a head and a worker, as `make up` starts it."""
    clone.env |= {"RAY_HEAD_CPUS": "3", "RAY_WORKER_CPUS": "2", "SHM_SIZE": "512mb"}
    clone.type("make", "up")
    try:
        yield clone
    finally:
        clone.compose("--profile", "*", "down", "--volumes", check=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The time limit is each test's own: the first one's set-up makes the image."""
    for item in items:
        item.add_marker(pytest.mark.timeout(1800, func_only=True))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    SUITE.show(terminalreporter)
