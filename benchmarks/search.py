"""Optuna against random search on a surface that stands for training, in paired repeats.

    python -m benchmarks.search [--repeats 50] [--trials 30]

Values are chosen and ends are recorded as in a run: with the study of `tune.search: optuna` in a
folder, and by `sample_trials` without it. A trial's metric is a Gaussian bump over learning rate
(log), entropy coefficient and epochs, with noise; its top moves from repeat to repeat. What counts
is the height, without the noise, of the trial with the best metric. The result goes to
`benchmarks/results/search.json`.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.machine import describe_machine
from empo_rllib.config.load import load_config
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.experiment.study import Study
from empo_rllib.experiment.summary import TrialSummary
from empo_rllib.statistics import estimate
from empo_rllib.trials import TrialSpec, sample_trials

RESULT = Path("benchmarks/results/search.json")
LR, ENTROPY, EPOCHS = (f"algorithm.params.{name}" for name in ("lr", "entropy_coeff", "num_epochs"))
EXPERIMENT = {
    "name": "search",
    "env": {"id": "stub"},
    "algorithm": {
        "name": "PPO",
        "params": {
            "lr": {"loguniform": [1e-5, 1e-2]},
            "entropy_coeff": {"uniform": [0.0, 0.02]},
            "num_epochs": {"randint": [1, 21]},
        },
    },
}
# Of the bump, in units of each range; and of the metric.
WIDTH, NOISE = 0.3, 0.05


class Surface:
    """What training would come to, by values: 1 at the top, towards 0 far from it."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._top = self._rng.uniform(0.1, 0.9, 3)

    def height(self, values: Mapping[str, Any]) -> float:
        place = (math.log10(values[LR] / 1e-5) / 3, values[ENTROPY] / 0.02, values[EPOCHS] / 20)
        return math.exp(-0.5 * float(np.sum((np.array(place) - self._top) ** 2)) / WIDTH**2)

    def measure(self, values: Mapping[str, Any]) -> float:
        return self.height(values) + float(self._rng.normal(0.0, NOISE))


def random_search(config: ExperimentConfig, surface: Surface) -> float:
    trials = [(surface.measure(spec.params), spec.params) for spec in sample_trials(config)]
    return surface.height(max(trials, key=lambda trial: trial[0])[1])


def optuna_search(config: ExperimentConfig, surface: Surface) -> float:
    trials = []
    with tempfile.TemporaryDirectory() as folder:
        study = Study(config, Path(folder), [])
        for spec in sample_trials(config):
            values = study.choose(spec.trial_id)
            metric = surface.measure(values)
            study.record(_ended(Path(folder), spec, values, metric))
            trials.append((metric, values))
    return surface.height(max(trials, key=lambda trial: trial[0])[1])


def _ended(folder: Path, spec: TrialSpec, values: dict[str, Any], metric: float) -> TrialSummary:
    """Writes what a trial's process would have written, and returns what the driver notes."""
    (folder / spec.trial_id).mkdir()
    rows = f"training_iteration,env_steps,episode_return_mean\n1,1000,{metric}\n"
    (folder / spec.trial_id / "progress.csv").write_text(rows)
    return TrialSummary(
        trial_id=spec.trial_id, params=values, seed=spec.seed, status="finished", metric=metric
    )


def main(
    repeats: Annotated[int, typer.Option(min=2)] = 50,
    trials: Annotated[int, typer.Option(min=1)] = 30,
) -> None:
    """Compares the two and prints their heights with 95 % intervals."""
    heights: dict[str, list[float]] = {"random": [], "optuna": []}
    for seed in range(repeats):
        overrides: dict[str, Any] = {"tune.num_samples": trials, "seed": seed}
        config = load_config(EXPERIMENT, overrides)
        heights["random"].append(random_search(config, Surface(seed)))
        config = load_config(EXPERIMENT, {**overrides, "tune.search": "optuna"})
        heights["optuna"].append(optuna_search(config, Surface(seed)))
    difference = np.subtract(heights["optuna"], heights["random"]).tolist()
    result = {
        "trials": trials,
        "machine": describe_machine(),
        **{name: estimate(values).to_dict() for name, values in heights.items()},
        "optuna less random": estimate(difference).to_dict(),
        "heights": heights,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    for name in ("random", "optuna", "optuna less random"):
        print(f"{name:20} {json.dumps(result[name])}")


if __name__ == "__main__":
    typer.run(main)
