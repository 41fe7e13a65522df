"""The seed of the faults, the same in all test processes and printed at the end."""

from __future__ import annotations

import os
import secrets
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `table` and `chain`
sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))  # for `commands`

# Before other test processes are started, which must choose the same faults. The sample is always
# the same: a finding must not depend on who is next to run all tests.
os.environ.setdefault(
    "FAULTS_SEED", str(secrets.randbelow(1_000_000)) if "FAULTS_CHAINS" in os.environ else "0"
)

from chain import LOG, read_log


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves to `make test-faults` what is no part of the sample."""
    if "FAULTS_CHAINS" in os.environ:
        return
    left = [item for item in items if item.get_closest_marker("all_faults")]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seed = os.environ["FAULTS_SEED"]
    if counts := Counter(entry["blow"] for entry in read_log() if entry["seed"] == seed):
        done = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        terminalreporter.section("faults")
        terminalreporter.write_line(f"FAULTS_SEED={seed}, {counts.total()} blows: {done}")
        terminalreporter.write_line(f"each of them, and those of earlier seeds: {LOG}")
