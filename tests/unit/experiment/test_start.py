"""How a run begins, or continues."""

from __future__ import annotations

import fcntl
import json

import odd_envs
import pytest
import ray

from empo_rllib.config.load import load_config
from empo_rllib.errors import CheckpointError, ConfigError, RunError
from empo_rllib.experiment import start, tuner
from empo_rllib.experiment.plan import plan_resumed_trials, plan_trials
from empo_rllib.experiment.run_folder import CONFIG_FILE, LOCK_FILE, run_folder_of
from empo_rllib.experiment.start import (
    check_can_start,
    opened_run,
    resume_run,
    start_run,
    unfinished_trials,
)
from empo_rllib.experiment.summary import read_summary
from empo_rllib.trials import sample_trials

GRID = {"name": "PPO", "params": {"lr": {"grid_search": [1e-3, 1e-4]}}}


@pytest.fixture(autouse=True)
def _no_ray():
    yield
    assert not ray.is_initialized()


@pytest.fixture
def files(tmp_path):
    """Returns a function that lists everything below the working folder with its content.

    A lock is no content: it goes with the process that holds it.
    """

    def listing():
        return {
            path: path.is_file() and path.read_bytes()
            for path in sorted(tmp_path.rglob("*"))
            if path.name != LOCK_FILE
        }

    return listing


def begin(config):
    return start_run(config, plan_trials(config), gpus=0, overwrite=False)


def resume(config):
    with opened_run(config) as result:
        resume_run(config, plan_resumed_trials(config, result), 0, result)
    return result


def check(config, resume, overwrite=False):
    if not resume:
        check_can_start(config, overwrite)
        return
    with opened_run(config):
        pass


# Starting


def test_a_new_run_has_every_trial_pending(experiment):
    config = experiment(algorithm=GRID)
    result = begin(config)
    folder = run_folder_of(config)
    assert read_summary(folder) == result
    assert result.status == "running"
    assert [trial.status for trial in result.trials] == ["pending", "pending"]
    assert [trial.params for trial in result.trials] == [
        {"algorithm.params.lr": 1e-3},
        {"algorithm.params.lr": 1e-4},
    ]
    assert load_config(folder / CONFIG_FILE) == config


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
def test_checking_whether_a_run_can_start_writes_nothing(
    experiment, run_folder, files, resume, overwrite
):
    run_folder()
    before = files()
    if resume or overwrite:
        check(experiment(), resume, overwrite)
    else:
        with pytest.raises(RunError, match="already has results"):
            check(experiment(), resume, overwrite)
    check_can_start(experiment(name="new"), overwrite)
    assert files() == before


def test_an_empty_folder_can_become_a_run_after_the_check(experiment, files):
    folder = run_folder_of(experiment())
    folder.mkdir(parents=True)
    before = files()
    check_can_start(experiment(), overwrite=False)
    assert files() == before
    assert begin(experiment()).folder == str(folder)


@pytest.mark.parametrize(("resume", "overwrite"), [(True, False), (False, True)])
def test_a_run_that_another_process_trains_is_left_alone(experiment, run_folder, resume, overwrite):
    folder = run_folder()
    with (folder / LOCK_FILE).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="is being written by another process"):
            check(experiment(), resume, overwrite)
    check(experiment(), resume, overwrite)


def test_a_run_without_permission_is_refused_before_its_lock_is_opened(
    experiment, run_folder, refuse_writing
):
    folder = run_folder()
    (folder / LOCK_FILE).mkdir()  # opening it would be an error of another kind
    refuse_writing(folder)
    with pytest.raises(ConfigError, match="cannot be written"):
        check(experiment(), resume=True)


@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_a_trial_does_not_go_on_from_a_damaged_checkpoint(
    experiment, run_folder, result, trial, damage, caplog
):
    folder = run_folder()
    saved = {"policies/agent_0.safetensors": 1_000_000}
    if damage == "missing":
        saved = {"algorithm/rllib_checkpoint.json": 12}

    def spoil(iteration):
        state = folder / "trial_00000" / f"checkpoint_{iteration:06d}" / "state.json"
        state.write_text(json.dumps({**json.loads(state.read_text()), "files": saved}))

    spoil(2)
    result(trial(0, status="finished", env_steps=200_000), folder=folder).write()
    check(experiment(), resume=True)  # nothing is left to do

    result(trial(0, status="interrupted"), folder=folder).write()
    check(experiment(), resume=True)
    assert "Using checkpoint_000001 instead" in caplog.messages[0]
    spoil(1)
    with pytest.raises(CheckpointError, match=r"checkpoint_000002/.* bytes were saved"):
        check(experiment(), resume=True)


# Going on


def test_there_must_be_a_run_to_resume(experiment):
    with pytest.raises(RunError, match=r"^nothing to resume in .*Start it without .*resume=False"):
        check(experiment(), resume=True)


def test_a_run_that_was_killed_before_its_first_trial_gets_one_advice(experiment, run_folder):
    (run_folder() / "summary.json").unlink()
    for resume in (True, False):
        with pytest.raises(
            RunError, match=r"Start again with --overwrite \(in Python: overwrite=True\), or choose"
        ) as raised:
            check(experiment(), resume=resume)
        assert "without --resume" not in str(raised.value)
        assert "with --resume" not in str(raised.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"stop": {"env_steps": 500_000, "time_s": 10.0}},
        {"checkpoint": {"frequency": 1}},
        {"logging": {"tensorboard": False}},
        {"resources": {"num_env_runners": 2}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_some_sections_may_change_on_resume(experiment, run_folder, changes):
    folder = run_folder()
    config = experiment(**changes)
    resume(config)
    assert load_config(folder / CONFIG_FILE) == config


def test_a_run_may_be_resumed_from_another_working_folder(experiment, run_folder, monkeypatch):
    folder = run_folder()
    config = experiment(storage_path=str(folder.parent))
    monkeypatch.chdir("/")
    assert resume(config).folder == str(folder)


def test_every_other_difference_is_refused_and_shown(experiment, run_folder, files):
    run_folder()
    before = files()
    config = experiment(
        seed=7,
        algorithm={"name": "PPO", "params": {"lr": 0.1}},
        tune={"num_samples": 3, "mode": "min"},
        stop={"env_steps": 5},
    )
    with pytest.raises(RunError) as raised:
        resume(config)
    message = str(raised.value)
    assert "  seed: 0 -> 7\n" in message
    assert "  algorithm.params.lr: None -> 0.1\n" in message
    assert "  tune.mode: 'max' -> 'min'\n" in message
    assert "stop.env_steps" not in message
    assert "num_samples:" not in message
    assert "Only stop, checkpoint, logging, resources may change" in message
    assert "tune.num_samples may grow" in message
    assert files() == before


def test_fewer_trials_are_refused(experiment, files):
    begin(experiment(tune={"num_samples": 3}))
    before = files()
    with pytest.raises(RunError, match=r"tune\.num_samples: 3 -> 2"):
        resume(experiment(tune={"num_samples": 2}))
    assert files() == before


@pytest.mark.parametrize("search", [None, "optuna"])
def test_a_resume_may_add_trials_and_those_before_keep_their_values(
    experiment, result, trial, search
):
    """The values of the first two are other ones than would be sampled."""
    algorithm = {"name": "PPO", "params": {"lr": {"uniform": [0.1, 1.0]}}}

    def config(num_samples):
        tune = {"num_samples": num_samples, "search": search}
        return experiment(algorithm=algorithm, seed=5, tune=tune)

    folder = run_folder_of(config(2))
    begin(config(2))
    over = {"status": "finished", "env_steps": 10**9}
    trials = [trial(n, seed=5 + n, params={"algorithm.params.lr": 2.0 + n}, **over) for n in (0, 1)]
    result(*trials, folder=folder, status="finished").write()

    resumed = resume(config(4))

    assert resumed == read_summary(folder)
    assert resumed.trials[:2] == trials
    added = resumed.trials[2:]
    assert [(one.trial_id, one.seed, one.status) for one in added] == [
        ("trial_00002", 7, "pending"),
        ("trial_00003", 8, "pending"),
    ]
    sampled = [one.params for one in sample_trials(config(4))[2:]]
    assert [one.params for one in added] == ([{}, {}] if search else sampled)
    assert load_config(folder / CONFIG_FILE).tune.num_samples == 4


def statuses(experiment, run_folder, result, trial, **stop):
    folder = run_folder()
    counters = {"env_steps": 200_000, "episodes": 100, "time_s": 60.0}
    result(
        trial(0, status="finished", stop_reason="env_steps", **counters),
        trial(1, status="stopped", **counters),
        trial(2, status="failed", error="Traceback"),
        trial(3, status="interrupted", env_steps=10),
        trial(4, status="running", env_steps=10),
        trial(5, status="pending"),
        folder=folder,
        status="interrupted",
    ).write()
    return experiment(**({"stop": stop} if stop else {})), folder


def test_a_resume_runs_what_is_not_over(experiment, run_folder, result, trial):
    config, folder = statuses(experiment, run_folder, result, trial)
    assert [t.trial_id[-1] for t in unfinished_trials(config, read_summary(folder))] == list("2345")
    resumed = resume(config)
    assert resumed == read_summary(folder)
    assert resumed.status == "running"
    assert [t.status for t in resumed.trials] == ["finished", "stopped", *["pending"] * 4]
    assert resumed.trials[2].error is None
    assert resumed.trials[0].stop_reason == "env_steps"


@pytest.mark.parametrize("mark", [{"env_steps": 400_000}, {"env_steps": None, "episodes": 101}])
def test_a_finished_trial_goes_on_when_its_limits_are_raised(
    experiment, run_folder, result, trial, mark
):
    config, _ = statuses(experiment, run_folder, result, trial, **mark)
    first = resume(config).trials[0]
    assert (first.status, first.stop_reason) == ("pending", "")
    assert first.env_steps == 200_000


@pytest.mark.parametrize(
    ("reason", "limit", "goes_on"),
    [
        ("episode_return_mean 0.96 >= 0.95", 0.95, False),
        ("episode_return_mean 0.96 >= 0.95", 0.97, True),
        ("env_steps 200,000 >= 200,000", 0.95, True),  # one window of 0.96 may be luck
    ],
)
def test_a_trial_that_reached_its_return_is_over(
    experiment, run_folder, result, trial, reason, limit, goes_on
):
    numbers = {"env_steps": 200_000, "episodes": 100, "episode_return_mean": 0.96}
    done = trial(0, status="finished", stop_reason=reason, **numbers)
    config = experiment(stop={"env_steps": 400_000, "episode_return_mean": limit})
    assert bool(unfinished_trials(config, result(done, folder=run_folder()))) is goes_on


@pytest.mark.parametrize("mark", [{"env_steps": 200_000}, {"env_steps": 400_000, "time_s": 60.0}])
def test_a_finished_trial_that_is_over_by_the_new_limits_stays(
    experiment, run_folder, result, trial, mark
):
    config, _ = statuses(experiment, run_folder, result, trial, **mark)
    assert resume(config).trials[0].status == "finished"


def test_a_resume_reads_the_run_once(experiment, run_folder, monkeypatch):
    folder = run_folder()
    read = []
    for name in ("load_config", "read_summary"):
        function = getattr(start, name)
        spy = lambda path, name=name, function=function: read.append(name) or function(path)  # noqa: E731
        monkeypatch.setattr(start, name, spy)
    resume(experiment())
    assert sorted(read) == ["load_config", "read_summary"]
    assert folder.exists()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"width": 3}, r"policy 'a': the weights are not of the network"),
        ({"agents_there": ("a", "c")}, r"no policy 'c'; it holds a, b"),
    ],
)
def test_a_space_that_changed_since_the_checkpoint_is_refused(
    write_run, tmp_path, monkeypatch, files, changed, words
):
    folder = write_run(tmp_path / "run", env={"id": "odd_envs:Room"}, storage_path=str(tmp_path))
    before = files()
    for name, value in changed.items():
        monkeypatch.setattr(odd_envs.Room, name, value)
    with pytest.raises(RunError, match=words) as caught:
        tuner.run(load_config(folder / CONFIG_FILE), resume=True)
    assert "the spaces or agents of odd_envs:Room, or the network, have changed" in str(
        caught.value
    )
    assert files() == before


def test_parameters_of_single_policies_are_checked_on_resume_too(write_run, tmp_path, files):
    folder = write_run(tmp_path / "run", env={"id": "odd_envs:Room"}, storage_path=str(tmp_path))
    own = "algorithm.params.algorithm_config_overrides_per_module={a: {gamma: 0.5}}"
    config = load_config(folder / CONFIG_FILE, [own])
    (folder / CONFIG_FILE).write_text(config.to_yaml())
    before = files()
    with pytest.raises(ConfigError, match=r"gamma = 0.5 cannot differ by policy where .* is rllib"):
        tuner.run(load_config(folder / CONFIG_FILE, ["resources.sampler=rllib"]), resume=True)
    assert files() == before
