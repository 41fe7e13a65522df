"""Whether `episode_return_mean` is the true mean of a policy that does not change.

    python -m benchmarks.means [--seeds 30] [--address HOST:PORT]

Every sampler, without and with two env runners, trains with a learning rate that changes nothing,
ends in the middle and is resumed. On `python` and `rllib` an episode takes 2 or 40 steps at even
chance and pays 1 or 0, so that its mean is 0.5. The `batched` sampler has no such environment:
there, in Empty-8x8 (episodes of some 20 to 256 steps), the truth is what `evaluate` finds on
episodes of its own, seed by seed. A trial with two env runners takes three CPUs: with fewer, start
Ray with more (`ray start --head --num-cpus=6`) and give its address. The result
goes to `benchmarks/results/means.json`.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import typer
from pettingzoo import ParallelEnv
from rich.console import Console
from rich.table import Table
from scipy import stats

from benchmarks.machine import describe_machine

RESULT = Path("benchmarks/results/means.json")
NUM_ENVS, ROWS = 160, 5  # in a session; there are two
SHORT, LONG, TRUE_MEAN = 2, 40, 0.5
NUM_TRUTH = 400  # episodes of `evaluate` for each seed
CELLS = [(sampler, runners) for sampler in ("python", "rllib", "batched") for runners in (0, 2)]


class Lopsided(ParallelEnv):
    """Two agents; an episode is short and pays 0.5 each, or long and pays nothing."""

    metadata = {"name": "lopsided"}
    possible_agents = ["a", "b"]

    def __init__(self) -> None:
        self._rng = np.random.default_rng()

    def observation_space(self, agent: str) -> gym.spaces.Space:
        return gym.spaces.Box(0.0, 1.0, (2,), np.float32)

    def action_space(self, agent: str) -> gym.spaces.Space:
        return gym.spaces.Discrete(2)

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self.agents = list(self.possible_agents)
        self._num_steps = 0
        self._length = LONG if self._rng.random() < 0.5 else SHORT
        return self._observe(), {agent: {} for agent in self.agents}

    def step(self, actions: dict) -> tuple[dict, dict, dict, dict, dict]:
        self._num_steps += 1
        ends = self._num_steps == self._length
        paid = 0.5 if ends and self._length == SHORT else 0.0
        observations, agents = self._observe(), list(self.agents)
        self.agents = [] if ends else agents
        rewards, ended = dict.fromkeys(agents, paid), dict.fromkeys(agents, ends)
        cut, infos = dict.fromkeys(agents, False), {agent: {} for agent in agents}
        return observations, rewards, ended, cut, infos

    def _observe(self) -> dict:
        place = self._num_steps / LONG
        return {a: np.array([self._rng.random(), place], np.float32) for a in self.agents}


def main(
    seeds: Annotated[int, typer.Option(min=2)] = 30,
    cells: Annotated[list[str] | None, typer.Option(help="Such as rllib-2; all.")] = None,
    address: Annotated[str | None, typer.Option(help="As `tune` has it.")] = None,
) -> None:
    """Measure the bias of every row, and of all of them together."""
    result: dict[str, Any] = {"machine": describe_machine(), "seeds": seeds, "cells": {}}
    for sampler, runners in CELLS:
        name = f"{sampler}-{runners}"
        if cells and name not in cells:
            continue
        with tempfile.TemporaryDirectory(prefix="means-") as folder:
            errors = _measure(sampler, runners, seeds, Path(folder), address)
        result["cells"][name] = errors.tolist()
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        RESULT.write_text(json.dumps(result) + "\n")
    _print({name: np.array(errors) for name, errors in result["cells"].items()})


def _measure(
    sampler: str, runners: int, seeds: int, folder: Path, address: str | None
) -> np.ndarray:
    """Returns mean of the window less true mean, in units of the return's range.

    Returns:
        [seeds, rows], NaN where a row has no mean yet.
    """
    in_grid = sampler == "batched"
    batch = NUM_ENVS * (64 if in_grid else SHORT * 10)
    rows = ROWS + 1 if in_grid else ROWS
    experiment = {
        "name": "means",
        "storage_path": str(folder),
        "seed": {"grid_search": list(range(seeds))},
        "env": {"id": "MultiGrid-Empty-8x8-v0", "num_agents": 2}
        if in_grid
        else {"id": "benchmarks.means:Lopsided"},
        "policies": "shared",
        "algorithm": {
            "name": "PPO",
            "params": {
                "lr": 1e-12,
                "num_epochs": 1,
                "minibatch_size": batch,
                "train_batch_size_per_learner": batch,
                "metrics_num_episodes_for_smoothing": 400,
            },
        },
        "model": {"hidden_sizes": [8]},
        "resources": {
            "sampler": sampler,
            "num_env_runners": runners,
            "num_envs_per_env_runner": NUM_ENVS // max(1, runners),
        },
    }
    config = folder / "means.yaml"
    join = ["--address", address] if address else []
    for session, more in ((1, join), (2, [*join, "--resume"])):
        end = {"stop": {"env_steps": session * rows * batch}}
        config.write_text(json.dumps(experiment | end))
        command = [sys.executable, "-m", "empo_rllib.tune", "--config", str(config), *more]
        subprocess.run(command, check=True, stdout=sys.stderr)
    trials = sorted((folder / "means").glob("trial_*"))
    means = np.array([_means(trial / "progress.csv") for trial in trials])
    if not in_grid:
        return means - TRUE_MEAN
    return (means - np.array([[_true_mean(trial)] for trial in trials])) / 2.0


def _means(progress: Path) -> list[float]:
    with progress.open(newline="") as file:
        return [float(row["episode_return_mean"] or "nan") for row in csv.DictReader(file)]


def _true_mean(trial: Path) -> float:
    command = [sys.executable, "-m", "empo_rllib", "evaluate", str(trial), "--json"]
    command += ["--episodes", str(NUM_TRUTH), "--no-references", "--seed", "1000000"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["episode_return"]["mean"])


def _print(cells: dict[str, np.ndarray]) -> None:
    table = Table("sampler, env runners", "bias of each row, of the return's range", "all rows")
    tests = []
    for name, errors in cells.items():
        measured = errors[:, np.isfinite(errors).any(axis=0)]
        rows = " ".join(f"{bias:+.3f}" for bias in np.nanmean(measured, axis=0))
        # Seeds are independent, rows of one seed are not: one number for each seed.
        by_seed = np.nanmean(measured, axis=1)
        tests.append(stats.ttest_1samp(by_seed, 0.0).pvalue)
        table.add_row(name, rows, _interval(by_seed))
    Console().print(table)
    pooled = stats.combine_pvalues(tests, method="fisher").pvalue if len(tests) > 1 else tests[0]
    print(f"no bias in any cell: p = {pooled:.3f}")


def _interval(values: np.ndarray) -> str:
    half = 1.96 * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return f"{np.mean(values):+.4f} ± {half:.4f}"


if __name__ == "__main__":
    typer.run(main)
