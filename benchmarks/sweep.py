"""What a trial of a sweep costs beside its training: 100 tiny ones, and the driver's memory.

    python -m benchmarks.sweep [--trials 100] [--search optuna]

CPU time is that of all processes of the command, Ray's included, looked at four times a second;
from it goes the time within training iterations (`time_s`, wall time, so that a busy machine seems
cheaper: run it on an idle one). The driver's memory is the slope of a straight line over the trials
that have ended, from the tenth on. Results go to `benchmarks/results/sweep.json`.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.machine import describe_machine
from benchmarks.processes import cpu_s, family, private_mb

RESULT = Path("benchmarks/results/sweep.json")
PERIOD_S = 0.25
FIRST_TRIAL = 10  # for the driver's memory
EXPERIMENT: dict[str, Any] = {
    "name": "sweep",
    "env": {"id": "MultiGrid-Empty-5x5-v0", "num_agents": 2, "kwargs": {"max_steps": 20}},
    "algorithm": {
        "name": "PPO",
        "params": {
            "lr": {"loguniform": [1e-4, 1e-2]},
            "train_batch_size_per_learner": 100,
            "minibatch_size": 50,
            "num_epochs": 1,
            "metrics_num_episodes_for_smoothing": 2,
        },
    },
    "model": {"hidden_sizes": [16]},
    "resources": {"num_envs_per_env_runner": 5},
    "stop": {"env_steps": 200},
}


def main(
    trials: Annotated[int, typer.Option(min=FIRST_TRIAL + 2)] = 100,
    search: Annotated[str, typer.Option(help="null or optuna")] = "null",
) -> None:
    """Run a sweep of tiny trials; print CPU seconds a trial and the driver's growth."""
    with tempfile.TemporaryDirectory(prefix="sweep-", dir="/tmp") as folder:
        file = Path(folder, "sweep.yaml")
        file.write_text(json.dumps(EXPERIMENT))  # JSON is YAML
        run = Path(folder, "results", "sweep")
        command = [sys.executable, "-m", "empo_rllib.tune", "--config", str(file)]
        changes = (f"storage_path={run.parent}", f"tune.num_samples={trials}")
        for change in (*changes, f"tune.search={search}"):
            command += ["--set", change]
        machine = describe_machine()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        cpu_of, memory = _watch(process, run)
        if process.returncode:
            raise SystemExit(f"the sweep failed: exit code {process.returncode}")
        summary = json.loads((run / "summary.json").read_text())
    training = sum(trial["time_s"] for trial in summary["trials"])
    warm = np.array([point for point in memory if point[0] >= FIRST_TRIAL])
    result = {
        "machine": machine,
        "trials": trials,
        "search": search,
        "cpu_s": round(sum(cpu_of.values()), 1),
        "training_s": round(training, 1),
        "cpu_s_per_trial": round((sum(cpu_of.values()) - training) / trials, 3),
        "driver_mb": [float(warm[0, 1]), float(warm[-1, 1])],
        "driver_kb_per_trial": round(float(np.polyfit(*warm.T, 1)[0]) * 1024, 1),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def _watch(process: subprocess.Popen, run: Path) -> tuple[dict[int, float], list[list[float]]]:
    """Returns the CPU seconds of each process, and trials that have ended with the driver's MB."""
    cpu_of: dict[int, float] = {}
    memory = []
    while process.poll() is None:
        for pid in family(process.pid):
            with contextlib.suppress(OSError):  # it has ended
                cpu_of[pid] = cpu_s(pid)
        with contextlib.suppress(OSError, ValueError):
            trials = json.loads((run / "summary.json").read_text())["trials"]
            ended = sum(trial["status"] == "finished" for trial in trials)
            memory.append([float(ended), private_mb(process.pid)])
        time.sleep(PERIOD_S)
    return cpu_of, memory


if __name__ == "__main__":
    typer.run(main)
