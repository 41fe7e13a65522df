"""What tests of all kinds share."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "testbed"))  # for `bars`, `engine`, `slurm` ...

from bars import Suite

SUITE = Suite("make test", 15 * 60)


def pytest_configure(config: pytest.Config) -> None:
    """The bars of `make test` are measured anew by the whole of it, in several processes."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if whole and not hasattr(config, "workerinput"):
        SUITE.start()


def pytest_collection_finish() -> None:
    """What is imported by now stays: the garbage collector need not look through it again."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    SUITE.show(terminalreporter)


@pytest.fixture(scope="session")
def testbed() -> Path:
    """Where a make target has unpacked the programs that tests need."""
    folder = os.environ.get("TESTBED")
    if not folder:
        text = "these tests need their test-bed. Type: make test-containers, or: make test-slurm"
        pytest.exit(text, returncode=2)
    return Path(folder)
