"""An iteration of PPO in kernels against the same in torch, one after the other in one process.

    python -m benchmarks.kernels                         # the main job, and CartPole
    python -m benchmarks.kernels --repeats 5

Trains two Algorithms of each experiment, to and fro: a ratio is of two iterations side by side, so
that the machine's load is in both. Times are CPU seconds of the thread that trains.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import empo_rllib.acting.actor
from empo_rllib.algorithms.builder import build_algorithm_config
from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.config.load import validate_config
from empo_rllib.learning.ppo.compiled_training import KERNELS

MAIN = {
    "name": "kernels",
    "env": {
        "id": "MultiGrid-Empty-8x8-v0",
        "num_agents": 2,
        "kwargs": {"success_termination_mode": "all"},
    },
    "algorithm": {
        "name": "PPO",
        "params": {
            "lr": 7.5e-4,
            "train_batch_size_per_learner": 4000,
            "minibatch_size": 512,
            "num_epochs": 4,
        },
    },
}
CARTPOLE = {
    "name": "kernels",
    "env": {"id": "CartPole-v1"},
    "algorithm": {
        "name": "PPO",
        "params": {"train_batch_size_per_learner": 2000, "minibatch_size": 128, "num_epochs": 6},
    },
    "resources": {"num_envs_per_env_runner": 8},
}
EXPERIMENTS = {"main job, 40 envs": MAIN, "CartPole-v1, 8 envs": CARTPOLE}


class Trainer:
    """An Algorithm of an experiment, and what its iterations take."""

    def __init__(self, experiment: dict[str, Any], kernels: bool, folder: Path) -> None:
        setup = set_up_trial(validate_config(experiment))
        config = build_algorithm_config(setup, env_error_file=folder / "error")
        known = config.learner_config_dict
        config.learners(learner_config_dict={**known, KERNELS: kernels})
        self._kernels = kernels
        self._algorithm = config.build_algo()

    def iterate(self) -> float:
        """Trains once; returns the CPU seconds that it took."""
        compiled = empo_rllib.acting.actor.CompiledActor
        if not self._kernels:
            empo_rllib.acting.actor.CompiledActor = _Torch  # type: ignore[assignment,misc]
        try:
            started = time.thread_time()
            self._algorithm.train()
            return time.thread_time() - started
        finally:
            empo_rllib.acting.actor.CompiledActor = compiled  # type: ignore[misc]

    def stop(self) -> None:
        """Frees what it holds."""
        self._algorithm.stop()


class _Torch:
    """Leaves all networks to torch."""

    @staticmethod
    def of(module: Any) -> None:
        """Returns no actor."""


def ratios(experiment: dict[str, Any], repeats: int) -> tuple[list[float], list[float]]:
    """Returns torch's CPU seconds over those of kernels for each pair, and those of kernels."""
    found, seconds = [], []
    with tempfile.TemporaryDirectory(prefix="empo-kernels-") as name:
        trainers = [Trainer(experiment, kernels, Path(name)) for kernels in (True, False)]
        for repeat in range(2 + repeats):
            order = trainers if repeat % 2 else trainers[::-1]
            spent = {trainer: trainer.iterate() for trainer in order}
            if repeat >= 2:  # the first compile and allocate
                found.append(spent[trainers[1]] / spent[trainers[0]])
                seconds.append(spent[trainers[0]])
        for trainer in trainers:
            trainer.stop()
    return found, seconds


def main() -> None:
    """Prints a table of Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=9, help="pairs of iterations")
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print("| experiment | torch over kernels, median | over the repeats | kernels, CPU s |")
    print("| --- | ---: | ---: | ---: |")
    for name, experiment in EXPERIMENTS.items():
        found, seconds = ratios(experiment, repeats)
        median = statistics.median(found)
        spread = f"{min(found):.2f} – {max(found):.2f}"
        seconds_each = statistics.median(seconds)
        print(f"| {name} | {median:.2f}x | {spread} | {seconds_each:.3f} |", flush=True)


if __name__ == "__main__":
    main()
