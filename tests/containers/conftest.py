"""One engine, one image and one cluster for all container tests; the bars are shown at the end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `engine`, `clone`, `bars`

from bars import BARS_FILE, read_bars, record_bar
from clone import HOST_USER, ROOT, Clone
from engine import Engine, running_engine

_STARTED = time.monotonic()
_LIMIT_S = 15 * 60


def _testbed() -> Path:
    folder = os.environ.get("TESTBED")
    if not folder:
        pytest.exit("these tests need their test-bed. Type: make test-containers", returncode=2)
    return Path(folder)


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A Docker Engine with a stand-in for the Dockerfile's base image, and nothing else."""
    BARS_FILE.unlink(missing_ok=True)
    with running_engine(_testbed() / "docker") as engine:
        engine.on_host([str(ROOT / "tests/testbed/base_image.sh"), base_image()])
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
def wheels() -> Path | None:
    """Where this machine's pip looks for wheels besides its index; the build gets it too."""
    pip = [sys.executable, "-m", "pip", "config", "list"]
    settings = subprocess.run(pip, capture_output=True, text=True, check=True).stdout
    folders = re.findall(r"find-links='(/[^' ]+)'", settings)
    return next((Path(folder) for folder in folders if Path(folder).is_dir()), None)


@pytest.fixture(scope="session")
def image(clone: Clone, wheels: Path | None) -> float:
    """The image empo_rllib:latest of the clone; the seconds that the build took."""
    # For builds here: the engine's own network, and the wheels of this machine.
    flags = "--network=host" + (f" --build-context wheels={wheels}" if wheels else "")
    clone.env |= {"DOCKER_BUILD_FLAGS": flags}
    started = time.monotonic()
    clone.type("make", "build")
    return time.monotonic() - started


@pytest.fixture(scope="session")
def cluster(clone: Clone, image: float) -> Iterator[Clone]:
    """The clone's cluster of a head and a worker, as `make up` starts it."""
    clone.env |= {"RAY_HEAD_CPUS": "3", "RAY_WORKER_CPUS": "2", "SHM_SIZE": "512mb"}
    clone.type("make", "up")
    try:
        yield clone
    finally:
        clone.compose("--profile", "*", "down", "--volumes", check=False)


def base_image() -> str:
    """Returns the image that the Dockerfile starts from by default."""
    line = next(
        line
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("ARG BASE_IMAGE=")
    )
    return line.partition("=")[2]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not BARS_FILE.exists():
        return
    seconds = time.monotonic() - _STARTED
    record_bar("make test-containers", f"under {_LIMIT_S} s", round(seconds), seconds < _LIMIT_S)
    terminalreporter.section("bars")
    for name, bar in read_bars().items():
        verdict = "met" if bar["met"] else "MISSED"
        terminalreporter.write_line(
            f"{verdict:7} {name}: {bar['measured']} (asked: {bar['asked']})"
        )
