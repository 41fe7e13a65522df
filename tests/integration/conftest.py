"""Workplaces, and the runs that several tests look at."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `commands`

from commands import CONFIGS, Outcome, Workplace, workplace
from ray_head import Head, ray_head


@pytest.fixture(scope="session")
def smoke_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """Where `tune_configs/smoke.yaml` was run."""
    with workplace(tmp_path_factory.mktemp("smoke")) as place:
        yield place


@pytest.fixture(scope="session")
def smoke(smoke_place: Workplace) -> Outcome:
    """The outcome of `tune_configs/smoke.yaml`; its run is `smoke_place.run("smoke")`."""
    return smoke_place.tune("--config", CONFIGS / "smoke.yaml").check()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """A cluster for the trainings that are about something else: Ray takes longer to start.

    It stays to the end, and has no dashboard, which takes CPU even when nobody looks.
    """
    with (
        workplace(tmp_path_factory.mktemp("cluster")) as place,
        # Its workers find modules where the driver does, and nowhere else.
        ray_head(place, num_cpus=2, env={"PYTHONPATH": ""}, dashboard=False) as head,
    ):
        yield head


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A workplace for the tests of one module."""
    with workplace(tmp_path_factory.mktemp("place")) as here:
        yield here
