"""Run folders, every file of which may be damaged or made up, and files of cross-play."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from harness import changed_bytes, changed_data, fuzz, json_bytes, succeeds_or_tells
from hypothesis import strategies as st
from safetensors.numpy import save_file

from empo_rllib.config.load import validate_config
from empo_rllib.experiment.checkpoints import (
    checkpoint_to_restore,
    read_counters,
    read_episodes,
    read_policy,
)
from empo_rllib.experiment.metrics import Counters
from empo_rllib.experiment.progress_file import ProgressFile, read_progress, read_rows_until
from empo_rllib.experiment.provenance import write_provenance
from empo_rllib.experiment.run_folder import locate, resolve_checkpoint_policy
from empo_rllib.experiment.start import opened_run
from empo_rllib.experiment.summary import ExperimentResult, TrialSummary
from empo_rllib.exporting.describe import describe_provenance
from empo_rllib.results.report.crossplay import read_crossplay
from empo_rllib.results.report.runs import read_runs
from empo_rllib.service.slurm_job import was_started_by_this_job

TRIAL = Path("trial_00000")
CHECKPOINT = TRIAL / "checkpoint_000002"
PARAMS = {"algorithm.params.lr": 0.01}
EXPERIMENT = """\
name: run
env: {id: MultiGrid-Empty-5x5-v0, num_agents: 2}
algorithm:
  name: PPO
  params: {lr: {grid_search: [0.01]}}
stop: {env_steps: 1000}
"""
CONFIG = validate_config(yaml.safe_load(EXPERIMENT))


def write_run(folder: Path) -> None:
    """Writes an interrupted run with two checkpoints; only the newer one has fingerprints."""
    (folder / TRIAL).mkdir(parents=True)
    # Without its defaults, which take most of the time.
    (folder / "resolved_config.yaml").write_text(EXPERIMENT)
    write_provenance(folder, {"CPU": 2.0}, 1)
    rows = ProgressFile(folder / TRIAL, 0, tensorboard=True)
    for number in (1, 2):
        counters = Counters(number, 100 * number, 200 * number, number, float(number))
        rows.append({**asdict(counters), "env_steps_per_s": 100.0, "episode_return_mean": 0.5})
        write_checkpoint(folder / TRIAL / f"checkpoint_00000{number}", counters, number == 2)
    rows.close()
    trial = TrialSummary(
        trial_id=TRIAL.name, params=PARAMS, seed=0, status="interrupted", metric=0.5,
        episode_return_mean=0.5, checkpoint=str(CHECKPOINT), env_steps=200,
    )  # fmt: skip
    result = ExperimentResult(
        status="interrupted", sampler="python", sampler_reason="", mode="max",
        metric="episode_return_mean", trials=[trial], folder=str(folder),
    )  # fmt: skip
    result.update()
    result.write()


def write_checkpoint(folder: Path, counters: Counters, with_sha256: bool) -> None:
    (folder / "policies").mkdir(parents=True)
    (folder / "episodes.json").write_text('[{"start": 1, "return": 0.5}]')
    weights = {"layer.weight": np.ones((2, 3), np.float32)}
    for agent in ("agent_0", "agent_1"):
        save_file(weights, folder / "policies" / f"{agent}.safetensors")
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*.*")}
    state = {
        "format": 1,
        "counters": asdict(counters),
        "files": {name: path.stat().st_size for name, path in files.items()},
    }
    if with_sha256:
        state["sha256"] = {
            name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()
        }
    (folder / "state.json").write_text(json.dumps(state))


def resume(folder: Path) -> None:
    config = CONFIG.model_copy(update={"storage_path": str(folder.parent)})
    with opened_run(config):
        restored = checkpoint_to_restore(folder / TRIAL)
    if restored is not None:
        counters = read_counters(restored)
        read_episodes(restored)
        read_rows_until(folder / TRIAL, counters["training_iteration"], rename_damaged=True)


READERS: list[Callable[[Path], Any]] = [
    lambda folder: read_runs([folder]),
    lambda folder: describe_provenance(locate(folder)),
    lambda folder: locate(folder / TRIAL),
    lambda folder: locate(folder / CHECKPOINT),
    lambda folder: read_progress(folder / TRIAL),
    lambda folder: read_policy(folder / CHECKPOINT, "agent_0"),
    lambda folder: read_policy(folder / TRIAL / "checkpoint_000001", "agent_0"),
    lambda folder: read_episodes(folder / CHECKPOINT),
    lambda folder: resolve_checkpoint_policy(str(folder), "agent_1"),
    was_started_by_this_job,
    resume,  # the last: it renames what is damaged
]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored") / "run"
    write_run(folder)
    for read in READERS:
        assert read(folder) is not NotImplemented  # none fails before anything is damaged
    return folder


def files_of(stored: Path, *suffixes: str) -> list[Path]:
    paths = sorted(path for path in stored.rglob("*") if path.is_file())
    return [path for path in paths if not suffixes or path.suffix in suffixes]


def read_damaged(stored: Path, path: Path, content: bytes) -> None:
    """Reads the run with another content of one file."""
    folder = stored.parent.with_name("damaged") / "run"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(stored, folder)
    (folder / path.relative_to(stored)).write_bytes(content)
    for read in READERS:
        succeeds_or_tells(read, folder)


@fuzz(data=st.data())
def test_damaged_files_of_a_run(stored: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(files_of(stored)))
    read_damaged(stored, path, data.draw(changed_bytes(path.read_bytes())))


@fuzz(data=st.data())
def test_made_up_json_of_a_run_and_its_checkpoints(stored: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(files_of(stored, ".json")))
    content = json.loads(path.read_bytes())
    changed = data.draw(changed_data(content, ["format", "counters", "trials", "params", "files"]))
    read_damaged(stored, path, json_bytes(changed))


CROSSPLAY = {
    "format": 1,
    "env": {"id": "x"},
    "protocol": {"episodes": 2, "seed": 0, "greedy": True},
    "players": [{"name": "a", "run": "a", "trial": "t", "checkpoint": "c"}],
    "returns": [[0.5]],
    "intervals_95": [[[0.1, None]]],
    "success_rates": [[1.0]],
    "self_play": [0.5],
    "drop": [0.0],
    "random_partner": [0.0],
    "random_partner_drop": [0.5],
}


@fuzz(
    content=changed_data(CROSSPLAY, ["format", "players"]).map(json_bytes)
    | changed_bytes(json_bytes(CROSSPLAY))
)
def test_files_of_crossplay(stored: Path, content: bytes) -> None:
    path = stored.with_name("crossplay.json")
    path.write_bytes(content)
    succeeds_or_tells(read_crossplay, path)
