from __future__ import annotations

import os
import subprocess
import sys

import numba
import numpy as np
import pytest

from empo_rllib.envs.compiled import compiled

OUTER = """
from typing import NamedTuple
from empo_rllib.envs.compiled import compiled
from inner import OFFSET, inner

@compiled
def outer(x):
    return inner(x) + OFFSET

print(outer(2), outer._cache.cache_path, sum(outer.stats.cache_hits.values()))
"""
INNER = """
from empo_rllib.envs.compiled import compiled
from innermost import times

OFFSET = {offset}

@compiled
def inner(x):
    return times(x)
"""
INNERMOST = """
from empo_rllib.envs.compiled import compiled

@compiled
def times(x):
    return {factor} * x
"""


def run(folder, **env):
    """Returns the answer of `outer.py`, where its machine code is, and whether it was there."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path[1:], str(folder)]), **env}
    command = [sys.executable, "outer.py"]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer, path, hits = done.stdout.split()
    return int(answer), path, int(hits)


def test_machine_code_is_that_of_all_sources_and_goes_where_it_is_wanted(tmp_path):
    chosen = tmp_path / "chosen"

    def answer():
        result, path, hits = run(tmp_path, NUMBA_CACHE_DIR=str(chosen))
        assert path.startswith(str(chosen))
        return result, hits

    (tmp_path / "outer.py").write_text(OUTER)
    (tmp_path / "inner.py").write_text(INNER.format(offset=1))
    (tmp_path / "innermost.py").write_text(INNERMOST.format(factor=3))
    assert answer() == (7, 0)
    assert answer() == (7, 1)
    (tmp_path / "innermost.py").write_text(INNERMOST.format(factor=5))
    assert answer() == (11, 0)
    (tmp_path / "inner.py").write_text(INNER.format(offset=2))
    assert answer() == (12, 0)


def test_the_choice_of_others_is_left_alone():
    before = numba.config.CACHE_DIR

    @compiled
    def add(x):
        return x + 1

    assert before == numba.config.CACHE_DIR
    assert add(np.float64(1.0)) == pytest.approx(2.0)
