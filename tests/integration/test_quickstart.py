"""What QUICKSTART.md tells to type without Docker, line by line, in one shell."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import ROOT, Outcome, Running, Workplace, workplace

SECTION = (ROOT / "QUICKSTART.md").read_text().partition("## Without Docker")[2]
COMMANDS = re.search(r"```console\n(.*?)```", SECTION, re.DOTALL)[1]

STAMPS = ("created", "installed")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A clone in which `make install` was typed before, so that it has nothing to do.

    Its `.venv` is a view of the one that runs this, with stamps of its own. That `make install`
    works at all is what these tests themselves were installed by.
    """
    with workplace(tmp_path_factory.mktemp("clone")) as place:
        for name in ("Makefile", "pyproject.toml", "constraints.txt", "empo_rllib", "tune_configs"):
            (place.folder / name).symlink_to(ROOT / name)
        venv = place.folder / ".venv"
        venv.mkdir()
        for part in Path(sys.prefix).iterdir():
            if part.name not in STAMPS:
                (venv / part.name).symlink_to(part)
        for stamp in STAMPS:
            (venv / stamp).touch()
        yield place


@pytest.fixture(scope="module")
def typed(clone: Workplace) -> Outcome:
    return Running(["bash", "-ec", COMMANDS], clone.folder, clone.env).wait()


def test_it_trains_to_the_return_that_it_promises(typed: Outcome) -> None:
    best = re.search(r"best return +([0-9.]+)", typed.check().stdout)
    assert best
    assert float(best[1]) >= 1.9


def test_it_evaluates_and_films(typed: Outcome, clone: Workplace) -> None:
    assert "success" in typed.check().stdout
    assert (clone.folder / "results/empty-8x8-ppo/episode.gif").read_bytes()[:4] == b"GIF8"
