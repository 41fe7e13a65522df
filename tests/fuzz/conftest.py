"""What the fuzz tests share."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for `harness`
sys.path.insert(0, str(Path(__file__).parents[1] / "unit/bundle"))  # for `small_bundles`

from harness import INPUTS


def pytest_report_header() -> str:
    return f"fuzz: {INPUTS} inputs for each reader"
