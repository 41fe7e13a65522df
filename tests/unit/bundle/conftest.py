from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `small_bundles`

from small_bundles import write


@pytest.fixture
def write_bundle(tmp_path):
    """Writes a small bundle and returns its folder."""

    def write_here(**changes):
        return write(tmp_path / "bundle", **changes)

    return write_here
