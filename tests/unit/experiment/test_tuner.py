"""What is decided before Tune takes over."""

from __future__ import annotations

import pickle
import threading
import time
from pathlib import Path

import pytest
import ray

from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.errors import ConfigError, ResourceError, RunError
from empo_rllib.experiment import interrupt, tuner
from empo_rllib.experiment.cluster import Cluster
from empo_rllib.experiment.monitor import Monitor
from empo_rllib.experiment.run_folder import LOCK_FILE
from empo_rllib.experiment.share import Share
from empo_rllib.experiment.summary import read_summary
from empo_rllib.experiment.trial import TrialTask
from empo_rllib.experiment.tuner import run


@pytest.fixture(autouse=True)
def _no_ray():
    yield
    assert not ray.is_initialized()


@pytest.fixture(autouse=True)
def _not_quiet(monkeypatch):
    """Leaves this process's warnings and environment as they are."""
    monkeypatch.setattr(tuner, "quiet_ray", lambda: None)


def test_a_mistake_is_refused_before_anything_is_written(experiment, tmp_path):
    for mistake, error in (
        ({"env": {"id": "MultiGrid-Empty-5x5-v7"}}, ConfigError),
        ({"policies": {"agent_0": "a"}}, ConfigError),
        ({"tune": {"metric": "policy_return_mean/nobody"}}, ConfigError),
        ({"resources": {"num_env_runners": 100_000}}, ResourceError),
        ({"resources": {"num_gpus_per_learner": 1000}}, ResourceError),
        ({"storage_path": "s3://bucket/runs"}, ConfigError),
    ):
        with pytest.raises(error):
            run(experiment(**mistake))
        assert list(tmp_path.iterdir()) == []


def test_resume_and_overwrite_exclude_each_other(experiment):
    with pytest.raises(ConfigError, match="--resume and --overwrite"):
        run(experiment(), resume=True, overwrite=True)


def test_there_must_be_something_to_resume(experiment):
    with pytest.raises(RunError, match="nothing to resume"):
        run(experiment(), resume=True)


def test_a_run_that_is_over_is_not_run_again(experiment, run_folder):
    folder = run_folder()
    (folder / LOCK_FILE).touch()  # as training leaves it
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    result = run(experiment(), resume=True)
    assert result.status == "finished"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_what_a_trial_is_told_arrives_as_it_was(experiment):
    config = experiment(seed=4, policies={"agent_0": {"policy": "a", "train": False}, "*": "b"})
    task = TrialTask("trial_00007", Path("/runs/x/trial_00007"), set_up_trial(config), 0.5)
    assert TrialTask.of(pickle.loads(pickle.dumps({"task": task}))) == task


class FakeDisplay:
    def __init__(self):
        self.notices = []
        self.told = threading.Event()

    def notice(self, text):
        self.notices.append(text)
        self.told.set()

    def refresh(self):
        pass


class FakeSlowCalls:
    def __init__(self, block_all=False):
        self.block_all = lambda: block_all

    def look(self):
        pass


def fit_with(fit, config, display, monitor=None, block_all=False):
    cluster = Cluster("this machine", {}, 1, None, None)
    tuner._fit(fit, cluster, config, display, monitor, FakeSlowCalls(block_all))


def test_a_cluster_that_has_died_is_not_waited_for(experiment, result, trial, monkeypatch):
    interrupt.reset()
    statuses = ("finished", "running", "pending")
    run = result(*(trial(number, status=status) for number, status in enumerate(statuses)))
    display, end = FakeDisplay(), threading.Event()
    monitor = Monitor(experiment(), Share(run), display)
    monkeypatch.setattr(tuner, "lost_process", lambda cluster: "raylet")
    fit_with(end.wait, experiment(), display, monitor)
    end.set()
    monitor.finish(interrupted=False)
    saved = read_summary(Path(run.folder))
    assert saved.status == "failed"
    assert [one.status for one in saved.trials] == ["finished", "failed", "failed"]
    assert saved.trials[0].error is None
    assert "raylet has died" in saved.trials[1].error
    assert "--resume continues from the last checkpoint" in saved.trials[1].error


def test_an_error_of_tune_reaches_the_caller(experiment):
    interrupt.reset()

    def fit():
        raise RuntimeError("Tune fell over")

    with pytest.raises(RuntimeError, match="Tune fell over"):
        fit_with(fit, experiment(), FakeDisplay())


def test_tune_runs_beside_the_main_thread_and_an_interruption_is_told_once(experiment):
    interruption = interrupt.reset()
    display = FakeDisplay()

    def fit():
        assert threading.current_thread() is not threading.main_thread()
        interruption.signal_name = "SIGUSR1"
        interruption.since = 1e9
        interruption.asked.set()
        display.told.wait(30)

    fit_with(fit, experiment(), display)
    (notice,) = display.notices
    assert notice.startswith("SIGUSR1: saving every running trial")


def test_trials_that_do_not_save_in_time_are_not_waited_for(experiment):
    interruption = interrupt.reset()
    interrupt.running_trials.add("trial_00000")
    display = FakeDisplay()
    end = threading.Event()
    interruption.since = -1e9
    interruption.asked.set()
    fit_with(end.wait, experiment(checkpoint={"grace_s": 5.0}), display)
    end.set()
    assert "not every trial saved within checkpoint.grace_s = 5 s" in display.notices[-1]
    assert interrupt.running_trials == set()


def test_trials_whose_environments_do_not_return_are_hardly_waited_for(experiment):
    interruption = interrupt.reset()
    display = FakeDisplay()
    end = threading.Event()
    interruption.since = time.monotonic() - 5
    interruption.asked.set()
    config = experiment(checkpoint={"grace_s": 1e9})
    fit_with(end.wait, config, display, block_all=True)
    end.set()
    assert "environments do not return" in display.notices[-1]
