"""W&B gets the same rows, and can never fail a run."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from types import SimpleNamespace

import pytest

from empo_rllib.algorithms.setup import TrialSetup
from empo_rllib.config.load import validate_config
from empo_rllib.experiment.trial import TrialTask
from empo_rllib.experiment.wandb import WandbLogger, run_id, wandb_mode

MINIMAL = {"name": "run", "env": {"id": "x"}, "algorithm": {"name": "PPO"}}
ROW = {
    "env_steps": 500.0,
    "episode_return_mean": 0.5,
    "learner/agent_0/entropy": 1.9,
    "done": False,
    "stop_reason": "",
    "timestamp": 1.0,
    "hostname": "node",
}


class FakeRun:
    def __init__(self, package, **arguments):
        self.package = package
        self.arguments = arguments
        self.rows = []
        self.finished = 0

    def log(self, row, step):
        if self.package.broken == "log":
            raise RuntimeError("the socket is closed")
        self.rows.append((step, row))

    def finish(self):
        if self.package.broken == "finish":
            raise RuntimeError("no answer")
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch):
    """A package `wandb` that records what it is told; `broken` names what raises."""
    package = types.ModuleType("wandb")
    package.runs, package.broken = [], None
    package.api = SimpleNamespace(api_key=None)
    package.Settings = lambda **settings: settings

    def init(**arguments):
        if package.broken == "init":
            raise RuntimeError("permission denied")
        package.runs.append(FakeRun(package, **arguments))
        return package.runs[-1]

    package.init = init
    monkeypatch.setitem(sys.modules, "wandb", package)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    return package


@pytest.fixture
def notices():
    return []


@pytest.fixture
def build_logger(experiment, result, trial, notices):
    """Returns a function that builds a logger from the settings of `logging.wandb`."""

    def build(**settings):
        config = experiment(logging={"wandb": {"project": "walks", **settings}})
        return WandbLogger(config, result(trial(0), trial(1)), notices.append)

    return build


def tune_trial(number=0):
    setup = TrialSetup(validate_config(MINIMAL), {}, None)
    task = TrialTask(f"trial_{number:05d}", Path("/runs/x"), setup, 0.0)
    return SimpleNamespace(config={"task": task})


def play(logger, number=0, rows=(ROW,), end="on_trial_complete"):
    trial = tune_trial(number)
    logger.on_trial_start(0, [], trial)
    for row in rows:
        logger.on_trial_result(0, [], trial, row)
    getattr(logger, end)(0, [], trial)


@pytest.mark.parametrize("end", ["on_trial_complete", "on_trial_error"])
def test_a_trial_is_one_run_with_its_numbers_at_their_env_steps(wandb, build_logger, end):
    rows = [ROW, {**ROW, "env_steps": 1000.0}]
    play(build_logger(mode="offline"), rows=rows, end=end)
    (run,) = wandb.runs
    assert [step for step, _ in run.rows] == [500, 1000]
    assert run.rows[0][1] == {
        "env_steps": 500.0,
        "episode_return_mean": 0.5,
        "learner/agent_0/entropy": 1.9,
    }
    assert run.finished == 1


def test_a_run_is_named_after_its_experiment_and_trial(wandb, build_logger):
    play(build_logger(mode="offline"), number=1)
    arguments = wandb.runs[0].arguments
    assert arguments["project"] == "walks"
    assert arguments["name"] == "run-trial_00001"
    assert arguments["group"] == "run"
    assert arguments["mode"] == "offline"
    assert arguments["config"] == validate_config(MINIMAL).to_dict()


def test_the_group_can_be_given(wandb, build_logger):
    play(build_logger(mode="offline", group="paper"))
    assert wandb.runs[0].arguments["group"] == "paper"


def test_a_trial_that_starts_again_goes_on_in_its_run(wandb, build_logger):
    logger = build_logger(mode="offline")
    logger.on_trial_start(0, [], tune_trial())
    logger.on_trial_start(0, [], tune_trial())
    assert len(wandb.runs) == 1


def test_a_resumed_trial_goes_on_under_its_id(wandb, build_logger, tmp_path):
    play(build_logger(mode="offline"))
    play(build_logger(mode="offline"))
    play(build_logger(mode="offline"), number=1)
    first, resumed, other = (run.arguments for run in wandb.runs)
    assert first["id"] == resumed["id"] == run_id(tmp_path, "trial_00000")
    assert other["id"] != first["id"]
    assert first["resume"] == "allow"


@pytest.mark.parametrize("broken", ["init", "log", "finish"])
def test_whatever_wandb_raises_is_told_once_and_training_goes_on(
    wandb, build_logger, notices, broken
):
    wandb.broken = broken
    logger = build_logger(mode="offline")
    for number in (0, 1):
        play(logger, number, rows=[ROW, ROW])
    (notice,) = notices
    assert notice.startswith("W&B: ")
    assert notice.endswith("Training goes on without it; nothing more is logged.")


def test_a_package_that_cannot_be_imported_is_told_once(monkeypatch, build_logger, notices):
    monkeypatch.setitem(sys.modules, "wandb", None)
    play(build_logger())
    assert len(notices) == 1


def test_without_a_key_online_becomes_offline_and_says_so(wandb, notices):
    assert wandb_mode("online", notices.append) == "offline"
    assert "WANDB_API_KEY" in notices[0]


@pytest.mark.parametrize("place", ["environment", "netrc"])
def test_with_a_key_online_stays_online(wandb, notices, monkeypatch, tmp_path, place):
    if place == "environment":
        monkeypatch.setenv("WANDB_API_KEY", "k")
    else:
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password k\n")
        (tmp_path / ".netrc").chmod(0o600)
    assert wandb_mode("online", notices.append) == "online"
    assert notices == []


def test_where_there_is_no_network_online_becomes_offline_and_says_so(wandb, notices, monkeypatch):
    """SLURM jobs set WANDB_MODE; a key does not help."""
    monkeypatch.setenv("WANDB_API_KEY", "k")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert wandb_mode("online", notices.append) == "offline"
    assert notices == ["W&B: logs offline (WANDB_MODE); send it later with `wandb sync`"]


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_the_other_modes_need_no_key(wandb, notices, mode):
    assert wandb_mode(mode, notices.append) == mode
    assert notices == []


def test_online_that_cannot_be_reached_goes_on_offline(
    wandb, notices, experiment, tmp_path, monkeypatch
):
    def init(mode, **arguments):
        if mode == "online":
            raise RuntimeError("no route to host")
        wandb.runs.append(FakeRun(wandb, mode=mode, **arguments))
        return wandb.runs[-1]

    wandb.init = init
    monkeypatch.setenv("WANDB_API_KEY", "k")
    config = experiment(logging={"wandb": {"project": "p"}})
    logger = WandbLogger(config, SimpleNamespace(folder=str(tmp_path)), notices.append)
    for trial_id in ("trial_00000", "trial_00001"):
        task = TrialTask(trial_id, tmp_path / trial_id, TrialSetup(config, {}, None), 0.0)
        logger.on_trial_start(0, [], SimpleNamespace(config={"task": task}))
    assert [run.arguments["mode"] for run in wandb.runs] == ["offline", "offline"]
    assert len(notices) == 1
    assert "no route to host" in notices[0]
