"""PBT and PB2 against fixed values on a stub whose best value moves, in paired repeats.

    python -m benchmarks.population [--repeats 20] [--members 4] [--rounds 20]

Rounds are decided and values are chosen as in a run. In each round a member gains more the nearer
its learning rate (log) and entropy coefficient are to a point, which moves through the search
spaces in the course of the training; who copies continues from the other's sum. The score is that
sum with noise; what counts is the sum, without it, of the member with the best score at the end.
With fixed values the same members train with the values that they started with. The result goes to
`benchmarks/results/population.json`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.machine import describe_machine
from empo_rllib.config.load import load_config
from empo_rllib.config.population_settings import settings_of
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.experiment.bandit import to_unit
from empo_rllib.experiment.population import Member, Round, decide
from empo_rllib.experiment.population_scheduler import build_explore
from empo_rllib.statistics import estimate
from empo_rllib.trials import sample_trials

RESULT = Path("benchmarks/results/population.json")
INTERVAL = 20_000
SPACES: dict[str, Any] = {
    "lr": {"loguniform": [1e-5, 1e-2]},
    "entropy_coeff": {"uniform": [0.0, 0.02]},
}
EXPERIMENT = {
    "name": "population",
    "env": {"id": "stub"},
    "algorithm": {"name": "PPO", "params": SPACES},
    "stop": {"env_steps": 10**9},
}
# Of the bump, in units of each range; and of a score, in units of the largest gain of a round.
WIDTH, NOISE = 0.2, 0.1


class Task:
    """What a round of training gains, by values: at most 1."""

    def __init__(self, seed: int, rounds: int) -> None:
        self._rng = np.random.default_rng(seed)
        first, last = self._rng.uniform(0.1, 0.9, (2, len(SPACES)))
        self._path = np.linspace(first, last, rounds)

    def gain(self, round_: int, params: Mapping[str, Any]) -> float:
        place = [to_unit(params[f"algorithm.params.{key}"], SPACES[key]) for key in SPACES]
        distance = float(np.sum((np.array(place) - self._path[round_]) ** 2))
        return math.exp(-0.5 * distance / WIDTH**2)

    def measured(self, total: float) -> float:
        return total + float(self._rng.normal(0.0, NOISE))


def train(config: ExperimentConfig, task: Task, rounds: int) -> float:
    """Returns the sum of gains of the member with the best score at the end."""
    settings = settings_of(config.tune.scheduler)
    params = {spec.trial_id: spec.params for spec in sample_trials(config)}
    totals = dict.fromkeys(params, 0.0)
    decided: list[Round] = []
    scores: dict[str, float] = {}
    for number in range(rounds):
        for trial_id, values in params.items():
            totals[trial_id] += task.gain(number, values)
        scores = {trial_id: task.measured(total) for trial_id, total in totals.items()}
        if settings is None:
            continue
        members = [
            Member(
                trial_id=trial_id,
                env_steps=(number + 1) * INTERVAL,
                training_iteration=number + 1,
                score=scores[trial_id],
                params=values,
            )
            for trial_id, values in params.items()
        ]
        seed = config.seed if isinstance(config.seed, int) else 0
        decided.append(decide(members, decided, settings, build_explore(config), "max", seed))
        totals = {one.trial_id: totals[one.copies or one.trial_id] for one in decided[-1].members}
        params = {one.trial_id: one.params for one in decided[-1].members}
    return totals[max(scores, key=lambda trial_id: scores[trial_id])]


def main(
    repeats: Annotated[int, typer.Option(min=2)] = 20,
    members: Annotated[int, typer.Option(min=2)] = 4,
    rounds: Annotated[int, typer.Option(min=2)] = 20,
) -> None:
    """Compares the three and prints what they gained with 95 % intervals."""
    gains: dict[str, list[float]] = {}
    for name in ("fixed", "pbt", "pb2"):
        scheduler = "fifo" if name == "fixed" else {name: {"perturbation_interval": INTERVAL}}
        gains[name] = []
        for seed in range(repeats):
            overrides: dict[str, Any] = {"tune.num_samples": members, "seed": seed}
            config = load_config(EXPERIMENT, {**overrides, "tune.scheduler": scheduler})
            gains[name].append(train(config, Task(seed, rounds), rounds))
    pairs = [("pbt", "fixed"), ("pb2", "fixed"), ("pb2", "pbt")]
    differences = {
        f"{one} less {other}": estimate(np.subtract(gains[one], gains[other]).tolist()).to_dict()
        for one, other in pairs
    }
    averages = {name: estimate(values).to_dict() for name, values in gains.items()}
    result = {
        "members": members,
        "rounds": rounds,
        "machine": describe_machine(),
        **averages,
        **differences,
        "gains": gains,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    for name, value in (averages | differences).items():
        print(f"{name:16} {json.dumps(value)}")


if __name__ == "__main__":
    typer.run(main)
