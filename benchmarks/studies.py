"""What `benchmarks.time_to_return` trains: shipped experiments over seeds, ours and stock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Task
from benchmarks.stock import stock, stock_name
from empo_rllib.config.load import load_config

CONFIGS = Path(__file__).resolve().parents[1] / "tune_configs"
OURS = "batched, 40 envs"


@dataclass(frozen=True)
class Study:
    """One experiment, trained by several set-ups over the same seeds.

    Attributes:
        title: for tables and figures.
        experiments: the experiment file's content, by set-up; the seed is put in.
        env_steps: length of the curves to compare; None: each run ends at the return.
        episode_return: the return to reach; None: curves are compared.
    """

    title: str
    experiments: Mapping[str, dict[str, Any]]
    env_steps: int | None = None
    episode_return: float | None = None

    def task(self, setup: str, seed: int) -> Task:
        """Returns what to measure for one run."""
        return Task(experiment={**self.experiments[setup], "seed": seed})


def time_study() -> Study:
    """The main job to its return, as shipped."""
    config = load_config(CONFIGS / "ppo.yaml", ["resources.sampler=batched"])
    experiment = config.to_dict()
    stocks = {stock_name(n): stock(experiment, n) for n in (8, 40)}
    return Study(
        "Empty-8x8", {OURS: experiment, **stocks}, episode_return=config.stop.episode_return_mean
    )


def curve_studies(env_steps: int | None) -> dict[str, Study]:
    """Experiments in which every policy has to learn, with 40 envs in both set-ups.

    Args:
        env_steps: length of the runs; None: that of each study.
    """
    return {
        "coop": _curves("Empty-8x8, all agents must arrive", "ppo_coop", env_steps or 150_000),
        "red-blue-doors": _curves("RedBlueDoors-6x6", "ppo_red_blue_doors", env_steps or 1_000_000),
    }


def _curves(title: str, config: str, env_steps: int) -> Study:
    overrides = (
        "resources.sampler=batched",
        f"stop.env_steps={env_steps}",
        "stop.episode_return_mean=null",
        "stop.time_s=null",
    )
    experiment = load_config(CONFIGS / f"{config}.yaml", overrides).to_dict()
    num_envs = experiment["resources"]["num_envs_per_env_runner"]
    return Study(
        title,
        {OURS: experiment, stock_name(num_envs): stock(experiment, num_envs)},
        env_steps=env_steps,
    )
