"""What a trial reports of its iterations, with an algorithm that plays a script."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ray.rllib.utils.actor_manager import RemoteCallResults

from empo_rllib.errors import TrialError
from empo_rllib.experiment import trial as trial_module
from empo_rllib.experiment.metrics import Counters
from empo_rllib.experiment.progress_file import ProgressFile, read_progress
from empo_rllib.experiment.trial import ERROR_FILE, ExperimentTrial
from empo_rllib.sampling.episode_window import EpisodeWindow


class ScriptedAlgorithm:
    """Samples so many env steps in each iteration; None where all env runners are lost."""

    config = SimpleNamespace(sample_timeout_s=60.0)

    def __init__(self, *env_steps):
        self._env_steps = iter(env_steps)
        self.learner_group = SimpleNamespace(foreach_learner=lambda _: RemoteCallResults())
        self.env_runner_group = SimpleNamespace(
            num_remote_env_runners=lambda: 3,
            num_healthy_remote_workers=lambda: 1,
            healthy_env_runner_ids=lambda: [1],
        )

    def train(self):
        steps = next(self._env_steps)
        return {"env_runners": {} if steps is None else {"num_env_steps_sampled": steps}}


@pytest.fixture
def scripted(experiment, tmp_path):
    """Makes a trial whose algorithm plays a script; a day passes in a second."""

    def make(*env_steps):
        trial = object.__new__(ExperimentTrial)
        trial._config = experiment(checkpoint={"frequency": 1000})
        trial._algorithm = ScriptedAlgorithm(*env_steps)
        trial._folder, trial._healthy, trial._is_restored = tmp_path, True, False
        trial._counters, trial._window = Counters(), EpisodeWindow(100)
        trial._progress = ProgressFile(tmp_path, 0, tensorboard=False)
        trial._metrics = SimpleNamespace(emit=lambda *_: None)
        trial._saved_iteration, trial._waited_s, trial._env_runner_hosts = 0, 0.0, []
        return trial

    return make


@pytest.fixture
def clock(monkeypatch):
    """Every look at the clock takes ten seconds."""
    seconds = iter(range(0, 10_000, 10))
    monkeypatch.setattr(trial_module.time, "perf_counter", lambda: float(next(seconds)))


def test_an_iteration_without_env_steps_has_no_row_and_its_time_counts(scripted, clock, tmp_path):
    trial = scripted(100, None, None, 100)
    reported = [trial.step() for _ in range(4)]
    assert [row["training_iteration"] for row in reported] == [1, 1, 1, 2]
    assert [row["env_steps"] for row in reported] == [100, 100, 100, 200]
    rows = read_progress(tmp_path)
    assert [row["env_steps"] for row in rows] == [100, 200]
    assert [row["time_s"] for row in rows] == [10.0, 40.0]
    assert rows[1]["env_steps_per_s"] == pytest.approx(100 / 30)


def test_a_trial_without_any_env_step_reports_counters_of_zero(scripted):
    reported = scripted(None).step()
    assert (reported["env_steps"], reported["time_s"], reported["done"]) == (0, 0.0, False)


def test_a_trial_that_samples_nothing_any_more_fails(scripted, clock, tmp_path, monkeypatch):
    monkeypatch.setattr(trial_module, "MAX_WAIT_S", 40.0)
    trial = scripted(100, *[None] * 10)
    for _ in range(4):
        trial.step()
    with pytest.raises(TrialError, match=r"^no env step was sampled for 40 s; 1 of 3 env runners"):
        trial.step()
    assert (tmp_path / ERROR_FILE).read_text().startswith("no env step was sampled")
