"""Run folders as training leaves them, without checkpoints: nothing here imports Ray."""

from __future__ import annotations

import csv
import json

from empo_rllib.config.load import validate_config
from empo_rllib.experiment.summary import ExperimentResult, TrialSummary

SESSION = {
    "started": "2026-01-02T03:04:05+00:00",
    "command": "python -m empo_rllib.tune --config my.yaml --set seed=1",
    "working_folder": "/home/me/my work",
    "python": "3.11.7",
    "packages": {"ray": "2.60.0", "torch": None},
    "code": {"folder": "/home/me/clone", "commit": "abc123", "uncommitted_changes": True},
    "hardware": {"host": "box", "cpus": 2, "cluster_nodes": 1, "cluster_resources": {"CPU": 2.0}},
}


def row(iteration, value, **columns):
    """One row of progress.csv; env steps and seconds go with the iteration."""
    return {
        "timestamp": 1.7e9 + iteration,
        "training_iteration": iteration,
        "env_steps": 100 * iteration,
        "time_s": 2.0 * iteration,
        "env_steps_per_s": 50.0,
        "episode_return_mean": value,
        "policy_return_mean/agent_0": value / 2,
        "policy_return_mean/agent_1": value / 2,
        "time/sample_s": 1.2,
        "time/learn_s": 0.6,
        **columns,
    }


def write_rows(folder, rows):
    folder.mkdir(exist_ok=True)
    columns = list(dict.fromkeys(key for one in rows for key in one))
    with (folder / "progress.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def write_sweep(folder, lrs=(0.001, 0.01), seeds=(0, 1, 2), num_rows=4, **sections):
    """Writes a finished sweep over learning rates and seeds; returns end at 100 lr + seed / 100."""
    folder.mkdir(parents=True)
    experiment = {
        "name": folder.name,
        "seed": {"grid_search": list(seeds)},
        "env": {"id": "MultiGrid-Empty-5x5-v0", "num_agents": 2},
        "algorithm": {"name": "PPO", "params": {"lr": {"grid_search": list(lrs)}}},
        **sections,
    }
    (folder / "resolved_config.yaml").write_text(validate_config(experiment).to_yaml())
    (folder / "provenance.json").write_text(json.dumps({"sessions": [SESSION]}))
    trials = []
    for seed in seeds:
        for lr in lrs:
            end = 100 * lr + seed / 100
            rows = [row(i, end * i / num_rows) for i in range(1, num_rows + 1)]
            trial = TrialSummary(
                trial_id=f"trial_{len(trials):05d}",
                params={"algorithm.params.lr": lr},
                seed=seed,
                status="finished",
                stop_reason=f"env_steps {100 * num_rows} >= {100 * num_rows}",
                env_steps=100 * num_rows,
                episodes=7,
                time_s=2.0 * num_rows,
                env_steps_per_s=50.0,
                episode_return_mean=end,
                metric=end,
            )
            write_rows(folder / trial.trial_id, rows)
            trials.append(trial)
    result = ExperimentResult(
        status="finished",
        sampler="batched",
        sampler_reason="it can be",
        metric="episode_return_mean",
        mode="max",
        trials=trials,
        folder=str(folder),
    )
    result.update()
    result.write()
    return folder


def edit_summary(folder, edit):
    """Changes summary.json by a function that changes its content."""
    path = folder / "summary.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
