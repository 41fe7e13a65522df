"""Workplaces, and what several tests look at: made once, for all test processes."""

from __future__ import annotations

import fcntl
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `commands`

from commands import CONFIGS, Outcome, Workplace, workplace
from ray_head import Head, ray_head, start_head

Made = TypeVar("Made")

# More than the machine has: trials of several test processes do not wait for each other.
NUM_CPUS = 8
# Its workers find modules where the driver does, and nowhere else.
NO_MODULES = {"PYTHONPATH": ""}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is not marked as the core here is left to `make test-all`."""
    for item in items:
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("core"):
            item.add_marker(pytest.mark.slow)


def made_once(shared: Path, name: str, make: Callable[[Workplace], Made]) -> Made:
    """Returns what `make` has made for the first test process that asked.

    Its processes end with `shared`, and their TMPDIR is in it, short for Ray's sockets.
    """
    kept = shared / f"{name}.pickle"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            temp = shared / name[0]
            temp.mkdir(exist_ok=True)
            place = Workplace(Path(tempfile.mkdtemp(dir=shared)), temp)
            kept.write_bytes(pickle.dumps(make(place)))
    return pickle.loads(kept.read_bytes())


@pytest.fixture(scope="session")
def smoke_and_place(shared: Path) -> tuple[Outcome, Workplace]:
    def train(place: Workplace) -> tuple[Outcome, Workplace]:
        return place.tune("--config", CONFIGS / "smoke.yaml").check(), place

    return made_once(shared, "smoke", train)


@pytest.fixture(scope="session")
def smoke(smoke_and_place: tuple[Outcome, Workplace]) -> Outcome:
    """The outcome of `tune_configs/smoke.yaml`."""
    return smoke_and_place[0]


@pytest.fixture(scope="session")
def smoke_place(smoke_and_place: tuple[Outcome, Workplace]) -> Workplace:
    """Where that was run, to look at: its run is `smoke_place.run("smoke")`."""
    return smoke_and_place[1]


@pytest.fixture(scope="session")
def cluster(shared: Path, smoke: Outcome) -> Head:
    """A cluster for the trainings that are about something else: Ray takes longer to start.

    It has no dashboard, which takes CPU even when nobody looks. The smoke run has compiled the
    kernels by then: trials at the same time would each compile them.
    """
    return made_once(
        shared, "cluster", lambda place: start_head(place, NUM_CPUS, NO_MODULES, dashboard=False)
    )


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """A cluster on which nobody else trains, for tests that look at its processes."""
    with (
        workplace(tmp_path_factory.mktemp("cluster")) as place,
        ray_head(place, num_cpus=2, env=NO_MODULES, dashboard=False) as head,
    ):
        yield head


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A workplace for the tests of one module."""
    with workplace(tmp_path_factory.mktemp("place")) as here:
        yield here
