from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `sweeps`

from sweeps import write_sweep

from empo_rllib.results.report.runs import read_runs


@pytest.fixture
def sweep(tmp_path):
    """The folder of a sweep: two learning rates, three seeds."""
    return write_sweep(tmp_path / "runs" / "sweep")


@pytest.fixture
def sweep_run(sweep):
    return read_runs([sweep])[0]


@pytest.fixture
def crossplay():
    """The content of a valid cross-play file of two players."""
    players = [
        {"name": name, "run": f"results/{name}", "trial": "trial_00000", "checkpoint": "c"}
        for name in ("red", "blue")
    ]
    return {
        "format": 1,
        "env": {"id": "MultiGrid-Empty-5x5-v0", "num_agents": 2, "kwargs": {}},
        "protocol": {"episodes": 10, "seed": 0, "greedy": False},
        "players": players,
        "returns": [[0.9, 0.25], [0.125, 0.8]],
        "intervals_95": [[[0.8, 1.0], [0.2, 0.3]], [[0.1, 0.2], [0.7, 0.9]]],
        "success_rates": [[1.0, 0.5], [None, 0.75]],
        "self_play": [0.9, 0.8],
        "drop": [0.65, 0.675],
        "random_partner": [0.1, 0.2],
        "random_partner_drop": [0.8, 0.6],
    }
