from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from empo_rllib.config.load import validate_config
from empo_rllib.experiment.checkpoints import FORMAT, checkpoint_path
from empo_rllib.experiment.run_folder import CONFIG_FILE, run_folder_of
from empo_rllib.experiment.summary import ExperimentResult, TrialSummary

COUNTERS = {
    "training_iteration": 3,
    "env_steps": 300,
    "agent_steps": 600,
    "episodes": 12,
    "time_s": 1.5,
}


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """Returns a function that builds an experiment from sections of its file.

    Its runs are in `results/`, below the working folder.
    """
    monkeypatch.chdir(tmp_path)

    def build(**sections):
        defaults = {
            "name": "run",
            "env": {"id": "MultiGrid-Empty-5x5-v0", "num_agents": 2},
            "algorithm": {"name": "PPO"},
            "model": {"hidden_sizes": [4]},
        }
        return validate_config({**defaults, **sections})

    return build


@pytest.fixture
def refuse_writing(monkeypatch):
    """Returns a function that makes a folder refuse new files, as file systems do even to root."""

    def refuse(folder, number=errno.EACCES):
        for name in ("open", "mkdir"):
            original = getattr(os, name)

            def guarded(path, *args, original=original, **kwargs):
                if folder in (Path(path), Path(path).parent):
                    raise OSError(number, os.strerror(number))
                return original(path, *args, **kwargs)

            monkeypatch.setattr(os, name, guarded)

    return refuse


@pytest.fixture
def result(tmp_path):
    """Returns a function from trials to the result of a run in the temporary folder."""

    def build(*trials, folder=tmp_path, **fields):
        defaults = {
            "status": "running",
            "sampler": "rllib",
            "sampler_reason": "there is no other",
            "metric": "episode_return_mean",
            "mode": "max",
            "folder": str(folder),
        }
        return ExperimentResult(trials=list(trials), **{**defaults, **fields})

    return build


@pytest.fixture
def trial():
    """Returns a function that describes one trial; its number comes first."""

    def build(number=0, **fields):
        defaults = {"trial_id": f"trial_{number:05d}", "params": {}, "seed": number}
        return TrialSummary(**{**defaults, **fields})

    return build


@pytest.fixture
def write_checkpoint_folder():
    """Returns a function that writes the checkpoint of one iteration without any RLlib."""

    def write(trial_folder, iteration, policies=("agent_0", "agent_1"), score=None):
        folder = checkpoint_path(trial_folder, iteration)
        (folder / "policies").mkdir(parents=True)
        for number, name in enumerate(policies):
            weights = {"actor.weight": np.full((2, 3), iteration + number / 10, np.float32)}
            save_file(weights, str(folder / "policies" / f"{name}.safetensors"))
        counters = {**COUNTERS, "training_iteration": iteration}
        state = {"format": FORMAT, "counters": counters, "score": score}
        (folder / "state.json").write_text(json.dumps(state))
        return folder

    return write


@pytest.fixture
def run_folder(experiment, result, trial, write_checkpoint_folder):
    """Returns a function that writes a run of two trials, the second of them the best."""

    def write(config=None, policies=("agent_0", "agent_1"), **fields):
        config = config or experiment()
        folder = run_folder_of(config)
        folder.mkdir(parents=True)
        (folder / CONFIG_FILE).write_text(config.to_yaml())
        trials = [
            trial(
                number,
                seed=number,
                metric=float(number),
                episode_return_mean=float(number),
                checkpoint=f"trial_{number:05d}/checkpoint_000002",
                status="finished",
                stop_reason="env_steps 200,000 >= 200,000",
                env_steps=200_000,
            )
            for number in range(2)
        ]
        for one in trials:
            for iteration in (1, 2):
                write_checkpoint_folder(folder / one.trial_id, iteration, policies)
        written = result(*trials, folder=folder, status="finished", **fields)
        written.update()
        written.write()
        return folder

    return write
