"""What tests of all kinds share."""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "testbed"))  # for `bars`, `engine`, `slurm` ...

from bars import Suite
from processes import end_processes_of

# By what Makefile's targets select.
SUITES = {"not slow": Suite("make test", 6 * 60), "slow": Suite("make test-all", 15 * 60)}
SHARED = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Makes the folder of what all test processes share.

    The bars of a make target are measured anew by the whole of it, in several processes.
    """
    # As in a terminal: a shell's job in the background ignores SIGINT, and one of nohup SIGHUP too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if hasattr(config, "workerinput"):
        config.stash[SHARED] = Path(config.workerinput["shared"])
        return
    # Short, for Ray's sockets.
    config.stash[SHARED] = Path(tempfile.mkdtemp(prefix="it-", dir="/tmp"))
    suite = SUITES.get(config.option.markexpr)
    if suite and all(Path(argument).is_dir() for argument in config.args):
        suite.start()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Tells a process of pytest-xdist where that folder is."""
    node.workerinput["shared"] = str(node.config.stash[SHARED])


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        end_processes_of(config.stash[SHARED])


def pytest_collection_finish() -> None:
    """What is imported by now stays: the garbage collector need not look through it again."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for suite in SUITES.values():
        suite.show(terminalreporter)


@pytest.fixture(scope="session")
def shared(pytestconfig: pytest.Config) -> Path:
    """A folder of all processes of this run, which ends what was started with a TMPDIR in it."""
    return pytestconfig.stash[SHARED]


@pytest.fixture(scope="session")
def testbed() -> Path:
    """Where a make target has unpacked the programs that tests need."""
    folder = os.environ.get("TESTBED")
    if not folder:
        text = "these tests need their test-bed. Type: make test-containers, or: make test-slurm"
        pytest.exit(text, returncode=2)
    return Path(folder)
