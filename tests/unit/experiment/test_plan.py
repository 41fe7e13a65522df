"""What can be known, and refused, of an experiment before Ray starts."""

from __future__ import annotations

import fcntl
import json
import sys
import types

import pytest
import ray
from ray.rllib.core.rl_module.torch import TorchRLModule

from empo_rllib.config import load_config
from empo_rllib.errors import CheckpointError, ConfigError, RunError
from empo_rllib.experiment.plan import (
    check_can_start,
    newest_checkpoint,
    num_gpus_per_learner,
    open_run,
    plan_resumed_trials,
    plan_trials,
    resume_run,
    start_run,
    trial_resources,
    unfinished_trials,
)
from empo_rllib.experiment.run_folder import CONFIG_FILE, LOCK_FILE, run_folder_of
from empo_rllib.experiment.summary import read_summary

GRID = {"name": "PPO", "params": {"lr": {"grid_search": [1e-3, 1e-4]}}}


@pytest.fixture(autouse=True)
def _no_ray():
    yield
    assert not ray.is_initialized()


@pytest.fixture
def files(tmp_path):
    """Returns a function that lists everything below the working folder with its content."""

    def listing():
        return {path: path.is_file() and path.read_bytes() for path in sorted(tmp_path.rglob("*"))}

    return listing


# The trials


def test_each_trial_has_its_own_experiment_and_rllib_config(experiment):
    planned = plan_trials(experiment(algorithm=GRID, seed=3, tune={"num_samples": 2}))
    assert [p.spec.trial_id for p in planned] == [f"trial_{number:05d}" for number in range(4)]
    assert [p.config.seed for p in planned] == [3, 3, 4, 4]
    configs = [p.algorithm_config(num_gpus_per_learner=0) for p in planned]
    assert [config.lr for config in configs] == [1e-3, 1e-4, 1e-3, 1e-4]
    assert [config.seed for config in configs] == [3, 3, 4, 4]


def test_a_trial_asks_for_what_the_largest_of_them_needs(experiment):
    config = experiment(resources={"num_env_runners": 3})
    small, large = plan_trials(experiment()), plan_trials(config)
    assert trial_resources([*small, *large], 0.0) == {"CPU": 4}
    assert trial_resources(small, 1.0) == {"CPU": 1, "GPU": 1}


def test_a_metric_of_a_policy_that_there_is_not_is_refused(experiment):
    config = experiment(tune={"metric": "policy_return_mean/walker"})
    with pytest.raises(ConfigError, match="there are only agent_0, agent_1"):
        plan_trials(config)


def test_the_second_trial_of_a_sweep_is_checked_too(experiment):
    params = {"n_step": {"grid_search": [1, 3]}, "rollout_fragment_length": 2}
    with pytest.raises(ConfigError, match=r"RLlib refuses these settings.*n_step"):
        plan_trials(experiment(algorithm={"name": "DQN", "params": params}))


def test_a_network_that_cannot_be_built_is_refused(experiment, monkeypatch):
    class Broken(TorchRLModule):
        def setup(self):
            raise RuntimeError("the bricks are missing")

    monkeypatch.setitem(sys.modules, "own_code", types.ModuleType("own_code"))
    sys.modules["own_code"].Broken = Broken
    with pytest.raises(ConfigError, match="the network of policy 'agent_0' cannot be built"):
        plan_trials(experiment(model={"class": "own_code:Broken"}))


# Policies that start from a checkpoint


def starting_from(source):
    return {"agent_0": {"policy": "a", "checkpoint": source}, "agent_1": "b"}


def test_a_checkpoint_that_is_not_there_is_refused(experiment):
    with pytest.raises(RunError, match="no such folder"):
        plan_trials(experiment(name="new", policies=starting_from("results/nothing")))


def test_weights_of_another_network_are_refused(experiment, run_folder):
    run_folder()
    config = experiment(name="new", policies=starting_from("results/run#agent_1"))
    with pytest.raises(CheckpointError, match=r"policies: 'a' from .*results/run#agent_1"):
        plan_trials(config)


def test_the_path_of_a_checkpoint_holds_in_the_trials_own_process(
    experiment, result, trial, tmp_path
):
    config = experiment(policies=starting_from("results/../results/other#agent_1"))
    (planned,) = plan_resumed_trials(config, result(trial(0)))
    absolute = f"{tmp_path}/results/other#agent_1"
    assert planned.policies["a"].checkpoint == absolute
    assert planned.config.to_dict()["policies"]["agent_0"]["checkpoint"] == absolute
    assert planned.policies["b"].checkpoint is None


# GPUs


@pytest.mark.parametrize(
    ("asked", "num_learners", "gpus", "expected"),
    [
        ("auto", 0, 0, 0.0),
        ("auto", 0, 1, 1.0),
        ("auto", 0, 8, 1.0),
        ("auto", 2, 2, 1.0),
        ("auto", 2, 1, 0.0),
        (0, 0, 4, 0.0),
        (0.5, 0, 0, 0.5),
        (2, 1, 4, 2.0),
    ],
)
def test_auto_takes_a_gpu_for_each_learner_where_there_are_enough(
    experiment, asked, num_learners, gpus, expected
):
    config = experiment(resources={"num_gpus_per_learner": asked, "num_learners": num_learners})
    assert num_gpus_per_learner(config, {"CPU": 8.0, "GPU": float(gpus)}) == expected


def test_a_cluster_without_any_gpu_entry_has_none(experiment):
    assert num_gpus_per_learner(experiment(), {"CPU": 8.0}) == 0.0


# Starting


def test_a_new_run_has_every_trial_pending(experiment):
    config = experiment(algorithm=GRID)
    result = start_run(config, plan_trials(config), overwrite=False)
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
        check_can_start(experiment(), resume, overwrite)
    else:
        with pytest.raises(RunError, match="already has results"):
            check_can_start(experiment(), resume, overwrite)
    check_can_start(experiment(name="new"), resume=False, overwrite=overwrite)
    assert files() == before


def test_an_empty_folder_can_become_a_run_after_the_check(experiment, files):
    folder = run_folder_of(experiment())
    folder.mkdir(parents=True)
    before = files()
    check_can_start(experiment(), resume=False, overwrite=False)
    assert files() == before
    assert start_run(experiment(), plan_trials(experiment()), overwrite=False).folder == str(folder)


@pytest.mark.parametrize(("resume", "overwrite"), [(True, False), (False, True)])
def test_a_run_that_another_process_trains_is_left_alone(experiment, run_folder, resume, overwrite):
    folder = run_folder()
    with (folder / LOCK_FILE).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="is being written by another process"):
            check_can_start(experiment(), resume, overwrite)
    check_can_start(experiment(), resume, overwrite)


def test_a_run_without_permission_is_refused_before_its_lock_is_opened(
    experiment, run_folder, refuse_writing
):
    folder = run_folder()
    (folder / LOCK_FILE).mkdir()  # opening it would be an error of another kind
    refuse_writing(folder)
    with pytest.raises(ConfigError, match="cannot be written"):
        check_can_start(experiment(), resume=True, overwrite=False)


@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_a_trial_does_not_go_on_from_a_damaged_checkpoint(
    experiment, run_folder, result, trial, damage
):
    folder = run_folder()
    state = folder / "trial_00000" / "checkpoint_000002" / "state.json"
    saved = {"policies/agent_0.safetensors": 1_000_000}
    if damage == "missing":
        saved = {"algorithm/rllib_checkpoint.json": 12}
    state.write_text(json.dumps({**json.loads(state.read_text()), "files": saved}))
    result(trial(0, status="finished", env_steps=200_000), folder=folder).write()
    check_can_start(experiment(), resume=True, overwrite=False)  # nothing is left to do

    result(trial(0, status="interrupted"), folder=folder).write()
    with pytest.raises(CheckpointError, match="Remove the folder checkpoint_000002"):
        check_can_start(experiment(), resume=True, overwrite=False)


# Going on


def resume(config):
    return resume_run(config, plan_resumed_trials(config, open_run(config)))


def test_there_must_be_a_run_to_resume(experiment):
    with pytest.raises(RunError, match=r"--resume: nothing to resume in .*Start it without"):
        check_can_start(experiment(), resume=True, overwrite=False)


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
    assert open_run(config).folder == str(folder)


def test_every_other_difference_is_refused_and_shown(experiment, run_folder, files):
    run_folder()
    before = files()
    config = experiment(
        seed=7,
        algorithm={"name": "PPO", "params": {"lr": 0.1}},
        tune={"num_samples": 3},
        stop={"env_steps": 5},
    )
    with pytest.raises(RunError) as raised:
        resume(config)
    message = str(raised.value)
    assert "  seed: 0 -> 7\n" in message
    assert "  algorithm.params.lr: None -> 0.1\n" in message
    assert "  tune.num_samples: 1 -> 3\n" in message
    assert "stop.env_steps" not in message
    assert "Only stop, checkpoint, logging, resources may change" in message
    assert files() == before


def test_resumed_trials_are_those_of_the_summary_not_drawn_anew(experiment, result, trial):
    config = experiment(algorithm={"name": "PPO", "params": {"lr": {"uniform": [0.1, 0.2]}}})
    drawn = {"algorithm.params.lr": 0.123}
    (planned,) = plan_resumed_trials(config, result(trial(0, params=drawn, seed=9)))
    assert planned.config.algorithm.params["lr"] == 0.123
    assert planned.config.seed == 9


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


def test_the_newest_checkpoint_is_named_relative_to_the_run(run_folder):
    folder = run_folder()
    assert newest_checkpoint(folder, "trial_00000") == "trial_00000/checkpoint_000002"
    assert newest_checkpoint(folder, "trial_00009") is None
