"""An environment that raises leaves its own traceback for the trial."""

from __future__ import annotations

import math
import types

import numpy as np
import pytest

from empo_rllib.algorithms.callbacks import EpisodeMetrics
from empo_rllib.envs.env_errors import ReportingEnv, raise_env_error
from empo_rllib.errors import EnvError, TrialError


@pytest.fixture
def error_file(tmp_path):
    return tmp_path / "env_error.txt"


ACTIONS = {f"agent_{i}": 0 for i in range(3)}


def test_an_error_in_reset_is_passed_on_and_its_traceback_kept(walk_env, error_file):
    env = ReportingEnv(error_file, walk_env(raises_in="reset"))
    with pytest.raises(RuntimeError, match="the floor is wet"):
        env.reset()
    text = error_file.read_text()
    assert text.startswith("the environment raised in reset():\nTraceback")
    assert "in reset\n" in text
    assert text.endswith("RuntimeError: the floor is wet\n")


def test_an_error_in_step_is_passed_on_and_its_traceback_kept(walk_env, error_file):
    env = ReportingEnv(error_file, walk_env(raises_in="step"))
    env.reset()
    with pytest.raises(RuntimeError):
        env.step(ACTIONS)
    assert error_file.read_text().startswith("the environment raised in step():\n")


def test_of_a_wrong_number_one_line_is_kept(walk_env, error_file):
    class Nan(walk_env):
        def _look(self):
            seen = np.array([1.0, math.nan if self.moment else 0.0], np.float32)
            return dict.fromkeys(self.agents, seen)

    env = ReportingEnv(error_file, Nan())
    env.reset()
    with pytest.raises(EnvError):
        env.step(ACTIONS)
    assert error_file.read_text() == (
        "walk (copy 0): agent agent_0, episode step 1: the observation is NaN at [1].\n"
    )


def test_rllibs_own_env_runner_numbers_its_copies(walk_env, error_file):
    copies = [ReportingEnv(error_file, walk_env()) for _ in range(3)]
    EpisodeMetrics().on_environment_created(
        env_runner=types.SimpleNamespace(worker_index=2), env=types.SimpleNamespace(envs=copies)
    )
    assert [env.copy_index for env in copies] == [0, 1, 2]


def test_only_the_first_error_is_kept(walk_env, error_file):
    first = ReportingEnv(error_file, walk_env(raises_in="step"))
    second = ReportingEnv(error_file, walk_env(raises_in="reset"))
    first.reset()
    with pytest.raises(RuntimeError):
        first.step(ACTIONS)
    with pytest.raises(RuntimeError):
        second.reset()
    assert error_file.read_text().count("Traceback") == 1
    assert "raised in step()" in error_file.read_text()


def test_an_environment_that_does_not_raise_leaves_no_file(walk_env, error_file):
    env = ReportingEnv(error_file, walk_env(), agent_id_for=["agent_0"])
    observations, _ = env.reset(seed=0)
    assert set(observations["agent_0"]) == {"observation", "agent_id"}
    assert env.step(ACTIONS)[1] == dict.fromkeys(ACTIONS, 1.0)
    assert not error_file.exists()


def test_a_trial_ends_with_the_traceback_that_was_left(error_file):
    raise_env_error(error_file)
    error_file.write_text("the environment raised in step():\n...")
    with pytest.raises(TrialError, match=r"the environment raised in step\(\)") as raised:
        raise_env_error(error_file, algorithm=None, env_runner_indices=[1])
    assert raised.value.exit_code == 1
