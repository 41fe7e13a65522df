"""What QUICKSTART.md tells to type with Docker, line by line, in a fresh clone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from clone import Clone
from repository import ROOT

SECTION = (ROOT / "QUICKSTART.md").read_text().partition("## With Docker")[2]
COMMANDS = re.search(r"```console\n(.*?)```", SECTION, re.DOTALL)[1].splitlines()


@pytest.fixture(scope="module")
def typed(cluster: Clone) -> Iterator[dict[str, str]]:
    """What each command printed. The last one takes the cluster down; it is up again afterwards."""
    printed = {}
    for line in COMMANDS:
        done = cluster.type("bash", "-c", line)
        printed[line] = done.stdout + done.stderr
    yield printed
    cluster.type("make", "up")


def test_it_trains_to_the_return_that_it_promises(typed: dict[str, str]) -> None:
    output = next(text for line, text in typed.items() if line.startswith("make submit"))
    best = re.search(r"best return +([0-9.]+)", output)
    assert best
    assert float(best[1]) >= 1.9


def test_it_evaluates_and_films(typed: dict[str, str], cluster: Clone) -> None:
    output = next(text for line, text in typed.items() if "evaluate" in line)
    assert "success" in output
    assert (cluster.folder / "results/episode.gif").read_bytes()[:4] == b"GIF8"


def test_it_says_where_the_dashboard_is(typed: dict[str, str]) -> None:
    assert "http://127.0.0.1:8265" in typed["make dashboard"]
    assert "cat /run/empo_rllib/token" in typed["make dashboard"]
