from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from empo_rllib.doctor.examine import examine
from empo_rllib.doctor.experiment import experiment_of
from empo_rllib.doctor.limits import Limits

sys.path.insert(0, str(Path(__file__).parent))  # for `broken_envs`

# Steps decide, not the time that they take.
QUICK = Limits(episodes=6, env_steps=300, play_s=60, repeat_steps=40, repeat_s=60)


def _examine_quickly(env_id, *overrides, num_agents=None, **limits):
    config = experiment_of(env_id, None, num_agents, overrides)
    return examine(config, dataclasses.replace(QUICK, **limits))


@pytest.fixture(scope="session")
def examine_quickly():
    """Examines an environment at small size: (id, *overrides, num_agents, **limits)."""
    return _examine_quickly
