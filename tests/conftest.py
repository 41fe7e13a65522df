"""What tests of all kinds share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "testbed"))  # for `bars`, `engine`, `slurm` ...


@pytest.fixture(scope="session")
def testbed() -> Path:
    """Where a make target has unpacked the programs that tests need."""
    folder = os.environ.get("TESTBED")
    if not folder:
        text = "these tests need their test-bed. Type: make test-containers, or: make test-slurm"
        pytest.exit(text, returncode=2)
    return Path(folder)
