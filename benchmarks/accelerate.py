"""What `empo_rllib.accelerate` buys: the scripts of `examples/`, with it and without, in turns.

`python -m benchmarks.accelerate` prints a table. An env runner and a learner of each way take turns
in one process, without Ray and on one thread of torch: a ratio is of one moment of the machine.
"""

from __future__ import annotations

import statistics
import time
from importlib import import_module
from typing import Annotated

import torch
import typer
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner

import empo_rllib

SCRIPTS = ("cartpole", "pettingzoo", "rl_module")


class Way:
    """The env runner and the learner of a config."""

    def __init__(self, config: PPOConfig) -> None:
        self._config = config
        runner = config.env_runner_cls or MultiAgentEnvRunner
        self._runner = runner(config=config, worker_index=0)
        spec = config.get_multi_rl_module_spec(
            spaces=self._runner.get_spaces(), inference_only=False
        )
        self._learner = config.learner_class(config=config, module_spec=spec)
        self._learner.build()

    def iterate(self) -> float:
        """Samples a batch and learns from it; returns the CPU time in seconds."""
        started = time.process_time()
        batch = self._runner.sample(num_timesteps=self._config.train_batch_size_per_learner)
        self._learner.update(
            episodes=batch,
            minibatch_size=self._config.minibatch_size,
            num_epochs=self._config.num_epochs,
            shuffle_batch_per_epoch=self._config.shuffle_batch_per_epoch,
        )
        return time.process_time() - started


def main(repeats: Annotated[int, typer.Option(min=1)] = 5) -> None:
    """Prints the CPU time of RLlib's iterations over that of accelerated ones."""
    torch.set_num_threads(1)
    print("| script | RLlib over accelerated, median | over the repeats | env steps per CPU s |")
    print("| --- | --- | --- | --- |")
    for script in SCRIPTS:
        config = import_module(f"examples.accelerate.{script}").build_config()
        ways = [Way(config), Way(empo_rllib.accelerate(config))]
        for way in ways:
            way.iterate()  # compiles, and warms up
        turns = [[way.iterate() for way in ways] for _ in range(repeats)]
        ratios = [stock / fast for stock, fast in turns]
        size = config.train_batch_size_per_learner
        rates = [size / statistics.median(seconds) for seconds in zip(*turns, strict=True)]
        print(
            f"| {script} | {statistics.median(ratios):.1f} | {min(ratios):.1f} to {max(ratios):.1f}"
            f" | {rates[0]:,.0f} to {rates[1]:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    typer.run(main)
