"""What Tune is handed of a search, without Tune."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from empo_rllib.errors import ConfigError
from empo_rllib.experiment import interrupt, search
from empo_rllib.experiment.plan import plan_resumed_trials, plan_trials
from empo_rllib.experiment.search import StudyRecorder, TrialQueue, trials_at_a_time
from empo_rllib.experiment.share import Share
from empo_rllib.experiment.start import start_run
from empo_rllib.experiment.study import STUDY_FILE
from empo_rllib.experiment.summary import read_summary
from empo_rllib.experiment.trial import TrialTask

LR = "algorithm.params.lr"


@pytest.fixture(autouse=True)
def _interruption():
    interrupt.reset()


@pytest.fixture
def config(experiment):
    def build(**tune):
        return experiment(
            algorithm={"name": "PPO", "params": {"lr": {"loguniform": [1e-5, 1e-2]}}},
            tune={"num_samples": 3, "search": "optuna", **tune},
        )

    return build


@pytest.fixture
def notices():
    return []


@pytest.fixture
def session(notices):
    """Returns a function that begins a session of a run: its summary and its searcher."""

    def begin(config, result=None):
        result = result or start_run(config, plan_trials(config), gpus=0, overwrite=False)
        tasks = [
            TrialTask(p.spec.trial_id, Path(result.folder) / p.spec.trial_id, p.setup, 0.0)
            for p in plan_resumed_trials(config, result)
            if result.trial(p.spec.trial_id).status == "pending"
        ]
        return result, TrialQueue(config, Share(result), tasks, notices.append)

    return begin


def states(result):
    storage = JournalStorage(JournalFileBackend(f"{result.folder}/{STUDY_FILE}"))
    study = optuna.load_study(study_name="run", storage=storage)
    return [trial.state.name for trial in study.trials]


def test_a_trial_gets_its_values_when_it_starts(config, session):
    result, searcher = session(config())
    assert [trial.params for trial in read_summary(Path(result.folder)).trials] == [{}, {}, {}]

    task = searcher.suggest("tune-0")["task"]

    saved = read_summary(Path(result.folder)).trials
    assert task.trial_id == "trial_00000"
    assert saved[0].params == {LR: task.setup.config.algorithm.params["lr"]}
    assert [trial.params for trial in saved[1:]] == [{}, {}]
    assert task.setup.config.tune.search is None
    assert [task.setup.config.seed, *(trial.seed for trial in saved[1:])] == [0, 1, 2]


def test_every_trial_starts_once_and_then_the_search_is_over(config, session):
    result, searcher = session(config())
    suggested = [searcher.suggest(f"tune-{number}") for number in range(4)]
    assert [one["task"].trial_id[-1] for one in suggested[:3]] == list("012")
    assert suggested[3] == TrialQueue.FINISHED
    assert len({trial.params[LR] for trial in result.trials}) == 3


def test_no_trial_starts_after_an_interruption(config, session):
    result, searcher = session(config())
    interrupt.current.asked.set()
    assert searcher.suggest("tune-0") == TrialQueue.FINISHED
    assert result.trials[0].params == {}


def test_a_later_session_starts_what_is_left_with_the_values_of_before(config, session):
    result, searcher = session(config())
    first = searcher.suggest("tune-0")["task"]
    again, searcher = session(config(), read_summary(Path(result.folder)))
    tasks = [searcher.suggest(f"tune-{number}")["task"] for number in range(3)]
    assert tasks[0].trial_id == first.trial_id
    assert tasks[0].setup.config == first.setup.config
    assert states(again) == ["RUNNING"] * 3


def test_values_that_do_not_go_together_fail_their_trial_alone(config, session, monkeypatch):
    result, searcher = session(config())
    planned = search.plan_chosen_trial

    def refuse_the_second(settings, spec):
        if spec.trial_id == "trial_00001":
            raise ConfigError("trial_00001: too large.")
        return planned(settings, spec)

    monkeypatch.setattr(search, "plan_chosen_trial", refuse_the_second)
    started = [searcher.suggest(f"tune-{number}")["task"].trial_id for number in range(2)]
    assert started == ["trial_00000", "trial_00002"]
    assert (result.trials[1].status, result.trials[1].error) == (
        "failed",
        "trial_00001: too large.",
    )
    assert states(result) == ["RUNNING", "FAIL", "RUNNING"]


def test_the_end_of_a_trial_reaches_the_study(config, session):
    result, searcher = session(config())
    task = searcher.suggest("tune-0")["task"]
    result.trials[0].status = "failed"
    recorder = StudyRecorder(searcher, Share(result))
    recorder.on_trial_error(1, [], SimpleNamespace(config={"task": task}))
    recorder.on_trial_complete(1, [], SimpleNamespace(config={"task": task}))
    assert states(result) == ["FAIL"]


def test_a_full_disk_is_told_and_the_end_is_recorded_later(config, session, notices, monkeypatch):
    result, searcher = session(config())
    searcher.suggest("tune-0")
    result.trials[0].status = "failed"
    journal = Path(result.folder) / STUDY_FILE

    def refuse(self, logs):
        with journal.open("a") as file:
            file.write('{"op_code":6,"wor')
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(JournalFileBackend, "append_logs", refuse)
        searcher.record(result.trials[0])
    assert "No space left on device" in notices[0]
    searcher.record(result.trials[0])
    assert states(result) == ["FAIL"]


def test_tune_may_pickle_what_it_is_handed(config, session):
    result, searcher = session(config())
    searcher.suggest("tune-0")
    pickle.dumps([searcher, StudyRecorder(searcher, Share(result))])


@pytest.mark.parametrize(
    ("needs", "max_concurrent", "expected"),
    [
        ({"CPU": 2}, None, 4),
        ({"CPU": 2, "GPU": 0.5}, None, 2),
        ({"CPU": 2, "GPU": 0}, 3, 3),
        ({"CPU": 2}, 9, 4),
        ({"CPU": 16}, None, 1),
    ],
)
def test_as_many_trials_run_as_there_is_room_for(config, needs, max_concurrent, expected):
    resources = {"CPU": 8, "GPU": 1}
    settings = config(max_concurrent=max_concurrent)
    assert trials_at_a_time(settings, needs, resources) == expected
