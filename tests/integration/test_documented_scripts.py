"""The Python blocks of the documents run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [
    (document, block)
    for document in ("README.md", "docs/environments.md")
    for block in re.findall(
        r"^```python\n(.*?)^```", (ROOT / document).read_text(), re.DOTALL | re.MULTILINE
    )
]


@pytest.mark.parametrize(("document", "block"), SCRIPTS, ids=[name for name, _ in SCRIPTS])
def test_the_script_runs_and_prints_a_number(document, block, tmp_path):
    script = block.replace("/tmp/runs", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    float(done.stdout.split()[-1])
