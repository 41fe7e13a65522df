"""Where runs are, what may be overwritten, and which checkpoint a path stands for."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from small_disk import fill, needs_root, small_disk

from empo_rllib.errors import CheckpointError, ConfigError, RunError
from empo_rllib.experiment import run_folder as module
from empo_rllib.experiment.run_folder import (
    CONFIG_FILE,
    LOCK_FILE,
    absolute_source,
    check_new_run,
    check_writable,
    create_run_folder,
    locate,
    lock_run,
    resolve_checkpoint_policy,
    run_folder_of,
)
from empo_rllib.experiment.start import opened_run, resume_run
from empo_rllib.experiment.summary import read_summary

# Where a run is


def test_a_relative_storage_path_is_in_the_working_folder(experiment, tmp_path):
    assert run_folder_of(experiment()) == tmp_path / "results" / "run"
    assert run_folder_of(experiment(storage_path="a/b")) == tmp_path / "a" / "b" / "run"


@pytest.mark.parametrize(
    "uri", ["/data/runs", "file:///data/runs", "file:/data/runs", "file://localhost/data/runs"]
)
def test_a_path_and_a_file_uri_are_the_same_place(experiment, uri):
    assert run_folder_of(experiment(storage_path=uri)) == Path("/data/runs/run")


def test_a_file_uri_may_hold_escaped_characters(experiment):
    assert run_folder_of(experiment(storage_path="file:///my%20runs")) == Path("/my runs/run")


def test_a_tilde_is_the_home_folder(experiment, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    config = experiment(storage_path="~/runs")
    assert run_folder_of(config) == Path("/home/somebody/runs/run")


@pytest.mark.parametrize("uri", ["s3://bucket/runs", "gs://bucket", "file://results/runs"])
def test_a_uri_that_is_no_folder_of_this_machine_is_refused(experiment, uri):
    with pytest.raises(ConfigError) as raised:
        run_folder_of(experiment(storage_path=uri))
    assert f"storage_path = {uri!r}" in str(raised.value)
    assert "Mount the bucket on every node" in str(raised.value)


# What a new run may write over


def test_a_new_run_folder_holds_the_resolved_experiment_only(experiment):
    config = experiment()
    folder = create_run_folder(config, overwrite=False)
    assert {path.name for path in folder.iterdir()} == {LOCK_FILE, CONFIG_FILE}
    assert (folder / CONFIG_FILE).read_text() == config.to_yaml()


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_empty_folder_may_become_a_run(experiment, overwrite):
    folder = run_folder_of(experiment())
    folder.mkdir(parents=True)
    assert create_run_folder(experiment(), overwrite) == folder


def test_a_name_with_results_is_refused_with_the_ways_out(experiment, run_folder):
    folder = run_folder()
    before = sorted(folder.rglob("*"))
    with pytest.raises(RunError, match=r"already has results.*--resume.*--overwrite"):
        create_run_folder(experiment(), overwrite=False)
    assert sorted(folder.rglob("*")) == before


def test_overwrite_removes_the_old_run(experiment, run_folder):
    folder = run_folder()
    create_run_folder(experiment(seed=5), overwrite=True)
    assert {path.name for path in folder.iterdir()} == {LOCK_FILE, CONFIG_FILE}
    assert "seed: 5" in (folder / CONFIG_FILE).read_text()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_run_is_never_overwritten(experiment, overwrite):
    folder = run_folder_of(experiment())
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="exists and is not a run folder"):
        create_run_folder(experiment(), overwrite)
    assert (folder / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_in_the_place_of_the_run_is_never_overwritten(experiment, overwrite):
    folder = run_folder_of(experiment())
    folder.parent.mkdir()
    folder.write_text("a file")
    with pytest.raises(RunError, match="exists and is not a run folder"):
        check_new_run(folder, overwrite)
    assert folder.read_text() == "a file"


def test_a_storage_path_that_is_a_file_is_refused(experiment, tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(ConfigError, match="storage_path = 'results' cannot be written"):
        check_writable(experiment())
    with pytest.raises(ConfigError, match="storage_path = 'results' cannot be written"):
        create_run_folder(experiment(), overwrite=False)


@pytest.mark.parametrize("reason", [errno.EACCES, errno.EROFS], ids=os.strerror)
def test_a_storage_path_that_refuses_new_files_is_refused(
    experiment, tmp_path, refuse_writing, reason
):
    refuse_writing(tmp_path, reason)
    with pytest.raises(ConfigError) as raised:
        check_writable(experiment())
    assert "storage_path = 'results' cannot be written" in str(raised.value)
    assert os.strerror(reason) in str(raised.value)


def test_asking_whether_a_path_can_be_written_writes_nothing(experiment, tmp_path):
    check_writable(experiment(storage_path="a/b/c"))
    assert list(tmp_path.iterdir()) == []


@needs_root
@pytest.mark.parametrize("start", [check_writable, partial(create_run_folder, overwrite=False)])
def test_a_full_disk_is_a_readable_error(experiment, tmp_path, start):
    with small_disk(tmp_path / "disk") as disk:
        fill(disk)
        with pytest.raises(ConfigError, match=r"cannot be written: .*No space left on device"):
            start(experiment(storage_path=str(disk)))


@needs_root
def test_a_run_on_a_full_disk_stays_as_it_was(experiment, tmp_path, run_folder):
    with small_disk(tmp_path / "disk") as disk:
        folder = run_folder(config := experiment(storage_path=str(disk)))
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        fill(disk, free_kb=0)
        changed = experiment(storage_path=str(disk), stop={"env_steps": 300_000})
        with pytest.raises(ConfigError, match=r"cannot be written"), opened_run(changed):
            pass
        with pytest.raises(OSError, match="No space left"):
            resume_run(changed, [], 0, read_summary(folder))
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
        assert read_summary(folder).status == "finished"
        assert locate(folder).config.stop == config.stop


# One process at a time


def test_a_run_is_locked_while_a_process_trains_in_it(tmp_path):
    code = (
        "import sys, fcntl\n"
        "file = open(sys.argv[1], 'w')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / LOCK_FILE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"locked\n"
        with (
            pytest.raises(RunError, match="is being written by another process"),
            lock_run(tmp_path),
        ):
            pass
        other.kill()  # the lock goes with its process, however that ends
        other.wait()
        with lock_run(tmp_path):
            pass


# Which checkpoint a path stands for


def test_a_run_stands_for_the_newest_checkpoint_of_its_best_trial(run_folder):
    folder = run_folder()
    found = locate(folder)
    assert found.run == folder
    assert found.trial.trial_id == "trial_00001"
    assert found.checkpoint == folder / "trial_00001" / "checkpoint_000002"
    assert found.config.seed == 1
    assert found.summary.status == "finished"


def test_a_trial_stands_for_its_newest_checkpoint(run_folder):
    folder = run_folder()
    found = locate(folder / "trial_00000")
    assert found.trial.trial_id == "trial_00000"
    assert found.checkpoint == folder / "trial_00000" / "checkpoint_000002"
    assert found.config.seed == 0


def test_the_best_checkpoint_of_a_trial_is_found_when_asked_for(
    run_folder, write_checkpoint_folder
):
    trial = run_folder() / "trial_00001"
    with pytest.raises(CheckpointError, match=r"no checkpoint has a score: .* --checkpoint last"):
        locate(trial, "best")
    for iteration, score in ((3, 0.96), (4, 0.84)):
        write_checkpoint_folder(trial, iteration, score=score)
    for path in (trial, trial.parent):
        assert locate(path, "best").checkpoint == trial / "checkpoint_000003"
        assert locate(path).checkpoint == trial / "checkpoint_000004"
        assert locate(path, "last").checkpoint == trial / "checkpoint_000004"
    with pytest.raises(RunError, match="--checkpoint best is for trials"):
        locate(trial / "checkpoint_000004", "best")


def test_of_the_newest_checkpoint_nothing_is_said_where_the_best_is_asked_for(
    run_folder, write_checkpoint_folder, caplog
):
    trial = run_folder() / "trial_00001"
    for iteration, score in ((3, 0.96), (4, 0.84)):
        write_checkpoint_folder(trial, iteration, score=score)
    (trial / "checkpoint_000004" / "state.json").write_text("{")
    assert locate(trial, "best").checkpoint == trial / "checkpoint_000003"
    assert not caplog.text


def test_the_best_checkpoint_is_the_lowest_where_less_is_better(
    run_folder, write_checkpoint_folder
):
    trial = run_folder(mode="min") / "trial_00001"
    for iteration, score in ((3, 0.1), (4, 0.84)):
        write_checkpoint_folder(trial, iteration, score=score)
    assert locate(trial, "best").checkpoint == trial / "checkpoint_000003"


def test_a_checkpoint_stands_for_itself(run_folder):
    checkpoint = run_folder() / "trial_00000" / "checkpoint_000001"
    assert locate(checkpoint).checkpoint == checkpoint
    assert locate(checkpoint).trial.trial_id == "trial_00000"


def test_relative_paths_with_dots_are_understood(run_folder, monkeypatch):
    folder = run_folder()
    monkeypatch.chdir(folder / "trial_00000" / "checkpoint_000001")
    assert locate(".").checkpoint.name == "checkpoint_000001"
    assert locate("..").checkpoint.name == "checkpoint_000002"
    assert locate("../..").trial.trial_id == "trial_00001"
    assert locate("../../trial_00001/../trial_00000").trial.trial_id == "trial_00000"


def test_a_trial_of_a_sweep_has_its_own_values(experiment, run_folder, result, trial):
    config = experiment(algorithm={"name": "PPO", "params": {"lr": {"grid_search": [1e-3, 1e-4]}}})
    folder = run_folder(config)
    rates = {"algorithm.params.lr": 1e-4}
    result(
        trial(0, params={"algorithm.params.lr": 1e-3}),
        trial(1, params=rates, seed=9, metric=1.0),
        folder=folder,
        best_trial="trial_00001",
    ).write()
    found = locate(folder)
    assert found.config.algorithm.params["lr"] == 1e-4
    assert found.config.seed == 9


def test_without_a_best_trial_any_with_a_checkpoint_will_do(run_folder, result, trial):
    folder = run_folder()
    saved = trial(1, checkpoint="trial_00001/checkpoint_000002")
    result(trial(0), saved, folder=folder).write()
    assert locate(folder).trial.trial_id == "trial_00001"


@pytest.mark.parametrize("part", ["", "trial_00001", "trial_00001/checkpoint_000002"])
def test_a_folder_outside_any_run_is_refused(experiment, tmp_path, part):
    folder = tmp_path / "else" / part
    folder.mkdir(parents=True)
    with pytest.raises(RunError, match="not a run folder, a trial or a checkpoint"):
        locate(folder)


def test_a_path_that_is_not_there_or_a_file_is_refused(run_folder):
    folder = run_folder()
    for path in (folder / "trial_00009", folder / "summary.json"):
        with pytest.raises(RunError, match="no such folder"):
            locate(path)


def test_a_folder_of_a_run_that_is_no_trial_is_refused(run_folder):
    folder = run_folder()
    (folder / "plots").mkdir()
    with pytest.raises(RunError, match="'plots' is not a trial of"):
        locate(folder / "plots")


def test_a_run_without_any_checkpoint_is_refused(run_folder, result, trial):
    folder = run_folder()
    result(trial(0), folder=folder).write()
    with pytest.raises(CheckpointError, match="no trial has saved a checkpoint yet"):
        locate(folder)


def test_a_trial_without_checkpoint_is_refused(run_folder):
    folder = run_folder()
    shutil.rmtree(folder / "trial_00000")
    (folder / "trial_00000").mkdir()
    with pytest.raises(CheckpointError, match="trial_00000: no checkpoint yet"):
        locate(folder / "trial_00000")


def test_a_damaged_checkpoint_is_passed_over_and_refused_where_it_is_named(run_folder, caplog):
    checkpoint = run_folder() / "trial_00001" / "checkpoint_000002"
    (checkpoint / "state.json").write_text("{")
    for path in (checkpoint.parent, checkpoint.parent.parent):
        assert locate(path).checkpoint.name == "checkpoint_000001"
        assert f"{checkpoint}: damaged state.json" in caplog.messages.pop()
    with pytest.raises(CheckpointError, match=r"damaged state\.json"):
        locate(checkpoint)


# Weights that a policy starts from


def test_a_policy_gets_the_weights_of_its_name(run_folder):
    folder = run_folder()
    weights = resolve_checkpoint_policy(str(folder), "agent_1")
    assert weights["actor.weight"][0, 0] == pytest.approx(2.1)


def test_a_policy_may_name_another_one_behind_a_hash(run_folder):
    checkpoint = run_folder() / "trial_00000" / "checkpoint_000001"
    weights = resolve_checkpoint_policy(f"{checkpoint}#agent_1", "walker")
    assert weights["actor.weight"][0, 0] == pytest.approx(1.1)


def test_the_only_policy_of_a_checkpoint_needs_no_name(run_folder):
    folder = run_folder(policies=("shared",))
    weights = resolve_checkpoint_policy(str(folder / "trial_00000"), "walker")
    assert weights["actor.weight"][0, 0] == pytest.approx(2.0)


def test_of_several_policies_one_must_have_the_name(run_folder):
    with pytest.raises(CheckpointError, match="no policy 'walker'; it holds agent_0, agent_1"):
        resolve_checkpoint_policy(str(run_folder()), "walker")


def test_a_name_that_is_given_must_be_there_even_if_there_is_only_one(run_folder):
    folder = run_folder(policies=("shared",))
    with pytest.raises(CheckpointError, match=r"no policy 'shred'.*Did you mean 'shared'"):
        resolve_checkpoint_policy(f"{folder}#shred", "walker")


def test_a_source_holds_in_any_working_folder(run_folder, monkeypatch, tmp_path):
    folder = run_folder()
    assert absolute_source("results/run") == str(folder)
    assert absolute_source("results/../results/run#agent_0") == f"{folder}#agent_0"
    source = absolute_source("results/run#agent_0")
    monkeypatch.chdir(folder)
    assert resolve_checkpoint_policy(source, "walker")


def test_finding_a_checkpoint_imports_neither_ray_nor_torch():
    code = f"import sys; import {module.__name__}; print(*{{'ray', 'torch'}} & set(sys.modules))"
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert answer.stdout.strip() == "", answer.stderr
    assert answer.returncode == 0, answer.stderr
