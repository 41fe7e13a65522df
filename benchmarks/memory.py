"""Env steps a second of a GRU on the fast path and on RLlib's own recurrent path, same network.

    python -m benchmarks.memory --repeats 3

Each measurement is a fresh process; those of a repeat alternate. A rate is the median over
training iterations from the second on, of wall time and of the process's CPU time.
"""

from __future__ import annotations

import argparse
from statistics import median
from typing import Any

from benchmarks.measure import Task, measure

_STEPS = {"batched": 8, "python": 8, "rllib": 4}  # iterations
_EXPERIMENT: dict[str, Any] = {
    "name": "memory",
    "env": {"id": "MultiGrid-Empty-8x8-v0", "num_agents": 2},
    "policies": "shared",
    "algorithm": {
        "name": "PPO",
        "params": {"train_batch_size_per_learner": 2000, "minibatch_size": 256, "num_epochs": 4},
    },
    "model": {"memory": "gru", "memory_size": 64, "hidden_sizes": [64, 64]},
}


def rates(sampler: str, num_envs: int) -> tuple[float, float]:
    """Returns env steps per second of wall time and of CPU time."""
    resources = {"sampler": sampler, "num_envs_per_env_runner": num_envs}
    task = Task({**_EXPERIMENT, "resources": resources}, iterations=_STEPS[sampler])
    rows = measure(task)["rows"][1:]
    wall, cpu = ([row["new_env_steps"] / row[key] for row in rows] for key in ("seconds", "cpu_s"))
    return median(wall), median(cpu)


def main() -> None:
    """Prints the rates of each repeat and the ratios of their medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--num-envs", type=int, default=8)
    arguments = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {sampler: [] for sampler in _STEPS}
    for repeat in range(arguments.repeats):
        for sampler, measured in found.items():
            measured.append(rates(sampler, arguments.num_envs))
            wall, cpu = measured[-1]
            print(
                f"{repeat}: {sampler}: {wall:,.0f} env steps/s, {cpu:,.0f} per CPU second",
                flush=True,
            )
    for sampler in ("batched", "python"):
        pairs = zip(found[sampler], found["rllib"], strict=True)
        ratios = [(ours[0] / theirs[0], ours[1] / theirs[1]) for ours, theirs in pairs]
        wall, cpu = (median(ratio[place] for ratio in ratios) for place in (0, 1))
        print(f"{sampler} against rllib: {wall:.1f}x of wall time, {cpu:.1f}x of CPU time")


if __name__ == "__main__":
    main()
