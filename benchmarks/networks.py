"""Which small network gets to a return first: the table in docs/decisions/0006.

    python benchmarks/networks.py --out networks.json [--seeds 5] [NAME ...]

Trains `tune_configs/ppo.yaml` with each candidate in this process, without Tune, one torch thread,
until its return target. CPU seconds are compared, since they depend least on other work.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import ray
import torch
import typer
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from empo_rllib import load_config
from empo_rllib.algorithms.builder import build_algorithm_config
from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.experiment.metrics import Counters, add_episodes, build_row, stop_reason
from empo_rllib.experiment.trial import seed_everything
from empo_rllib.sampling.episode_window import EpisodeWindow

ROOT = Path(__file__).parents[1]

CANDIDATES: dict[str, list[str]] = {
    "separate 128-64": ["model.hidden_sizes=[128, 64]", "model.shared_trunk=false"],
    "separate 64-64": ["model.hidden_sizes=[64, 64]", "model.shared_trunk=false"],
    "separate 32-32": ["model.hidden_sizes=[32, 32]", "model.shared_trunk=false"],
    "separate 64": ["model.hidden_sizes=[64]", "model.shared_trunk=false"],
    "shared 128-64": ["model.hidden_sizes=[128, 64]", "model.shared_trunk=true"],
    "shared 64-64": ["model.hidden_sizes=[64, 64]", "model.shared_trunk=true"],
    "shared 32-32": ["model.hidden_sizes=[32, 32]", "model.shared_trunk=true"],
    "shared 64": ["model.hidden_sizes=[64]", "model.shared_trunk=true"],
    "cells 8, 64-64": ["model.class=benchmarks.networks:CellEmbedding"],
    "convolution 16, 64": ["model.class=benchmarks.networks:SmallConvolution"],
}

TYPES, COLORS, STATES = 11, 6, 4


class _Shared(TorchRLModule, ValueFunctionAPI):
    """An actor and a critic that read the same 64 features."""

    def _heads(self) -> None:
        self.actor, self.critic = nn.Linear(64, 7), nn.Linear(64, 1)
        nn.init.orthogonal_(self.actor.weight, 0.01)
        nn.init.zeros_(self.actor.bias)

    def _features(self, observation: dict[str, Tensor]) -> Tensor:
        raise NotImplementedError

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        features = self._features(batch[Columns.OBS])
        return {Columns.ACTION_DIST_INPUTS: self.actor(features), Columns.EMBEDDINGS: features}

    def compute_values(self, batch: dict[str, Any], embeddings: Tensor | None = None) -> Tensor:
        if embeddings is None:
            embeddings = self._features(batch[Columns.OBS])
        return self.critic(embeddings).squeeze(-1)


class CellEmbedding(_Shared):
    """8 numbers for each cell, from a table of its type, colour and state; then 64-64."""

    def setup(self) -> None:
        self.table = nn.Linear(TYPES + COLORS + STATES, 8)
        self.layers = nn.Sequential(
            nn.Linear(49 * 8 + 4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()
        )
        self._heads()

    def _features(self, observation: dict[str, Tensor]) -> Tensor:
        kind, color, state = self.table.weight.t().split([TYPES, COLORS, STATES])
        table = kind[:, None, None] + color[:, None] + state + self.table.bias
        image = observation["image"].long()
        index = (image[..., 0] * COLORS + image[..., 1]) * STATES + image[..., 2]
        cells = nn.functional.embedding(index.flatten(1), table.reshape(-1, 8)).flatten(1)
        compass = nn.functional.one_hot(observation["direction"], 4).float()
        return self.layers(torch.cat([cells, compass], 1))


class SmallConvolution(_Shared):
    """16 convolutions of 3 by 3 with stride 2 over the one-hot cells; then 64."""

    def setup(self) -> None:
        self.convolution = nn.Conv2d(TYPES + COLORS + STATES, 16, 3, 2, 1)
        self.layer = nn.Linear(16 * 16 + 4, 64)
        self._heads()

    def _features(self, observation: dict[str, Tensor]) -> Tensor:
        sizes = (TYPES, COLORS, STATES)
        image = observation["image"].long()
        parts = [nn.functional.one_hot(image[..., i], size) for i, size in enumerate(sizes)]
        cells = torch.cat(parts, -1).float().permute(0, 3, 1, 2)
        compass = nn.functional.one_hot(observation["direction"], 4).float()
        maps = self.convolution(cells).relu().flatten(1)
        return self.layer(torch.cat([maps, compass], 1)).relu()


def train(overrides: list[str], seed: int) -> dict[str, float | bool]:
    """Trains one candidate; returns env steps, CPU seconds and whether it got to the return."""
    config = load_config(ROOT / "tune_configs/ppo.yaml", [*overrides, f"seed={seed}"])
    seed_everything(seed)
    algorithm = build_algorithm_config(set_up_trial(config)).build_algo()
    parameters = algorithm.get_module("agent_0").parameters()
    size = sum(parameter.numel() for parameter in parameters)
    counters, row = Counters(), {}
    window = EpisodeWindow(algorithm.config.metrics_num_episodes_for_smoothing)
    while stop_reason(config.stop, row, window.earlier_return_mean()) is None:
        wall, cpu, before = time.perf_counter(), time.process_time(), counters.env_steps
        result = algorithm.train()
        counters.advance(result, time.process_time() - cpu)
        add_episodes(window, result, counters, algorithm)
        seconds = time.perf_counter() - wall
        row = build_row(result, counters, window, seconds, counters.env_steps - before)
    algorithm.stop()
    return {
        "seed": seed,
        "parameters": size,
        "env_steps": row["env_steps"],
        "cpu_s": row["time_s"],
        "reached": row["episode_return_mean"] >= config.stop.episode_return_mean,
    }


def main(
    names: list[str] = typer.Argument(None), seeds: int = 5, out: Path = Path("networks.json")
) -> None:
    """Trains every candidate, or those named, with so many seeds."""
    torch.set_num_threads(1)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    results = json.loads(out.read_text()) if out.exists() else {}
    for seed in range(seeds):
        for name in names or CANDIDATES:
            done = results.setdefault(name, [])
            if seed not in [run["seed"] for run in done]:
                done.append(train(CANDIDATES[name], seed))
                out.write_text(json.dumps(results, indent=2))
                print(name, done[-1], flush=True)
    table = Table("network", "parameters of a policy", "env steps", "CPU s", "reached the target")
    for name, runs in results.items():
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        reached = sum(run["reached"] for run in runs)
        table.add_row(
            name,
            f"{median['parameters']:,.0f}",
            f"{median['env_steps']:,.0f}",
            f"{median['cpu_s']:.1f}",
            f"{reached} of {len(runs)}",
        )
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
