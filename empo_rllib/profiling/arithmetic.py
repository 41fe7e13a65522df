"""How many operations the networks need, and how many this machine does in a second."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from gymnasium.vector.utils import batch_space
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.utils.metrics import NUM_MODULE_STEPS_SAMPLED, NUM_MODULE_STEPS_TRAINED
from torch.utils.flop_counter import FlopCounterMode

from empo_rllib.acting.memory import step_inputs
from empo_rllib.learning.ppo.learner import UNIQUE_OBSERVATIONS

# A product like that of a minibatch and a hidden layer, for so long.
_SHAPE, _MEASURED_S = (512, 1024, 128), 0.3
_ROWS = 8


@dataclass(frozen=True)
class Arithmetic:
    """The products of matrices in an iteration, and how fast one core does such.

    Attributes:
        flop: floating point operations in float32: acting on every observation; for every row of
            every minibatch, as far as observations in it differ, forward and twice as much
            backward. None where the algorithm's update is another.
        flop_per_s: of one core.
    """

    flop: float | None
    flop_per_s: float

    @property
    def floor_s(self) -> float | None:
        """What they take one core that does nothing else, in seconds an iteration."""
        return None if self.flop is None else self.flop / self.flop_per_s


def count_arithmetic(algorithm: Algorithm, results: Sequence[Mapping[str, Any]]) -> Arithmetic:
    """Counts the operations of iterations that gave these results; returns their mean."""
    total = 0.0
    for policy in algorithm.config.policies:
        module = algorithm.get_module(policy)
        if not isinstance(module, ValueFunctionAPI):
            return Arithmetic(None, speed())
        acting, training = operations(module)
        for acted, trained in (_rows(result, policy) for result in results):
            total += acted * acting + trained * 3 * training
    return Arithmetic(total / len(results), speed())


def operations(module: TorchRLModule) -> tuple[float, float]:
    """Returns the floating point operations for one observation: of acting, and of all parts.

    The default network's critic, whatever it reads, counts by its number of weights against the
    actor's. Others count as they act.
    """
    observations = batch_space(module.observation_space, _ROWS).sample()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.forward_inference(step_inputs(module, observations, [{}] * _ROWS))
    acting = counter.get_total_flops() / _ROWS
    sizes = {name: part.numel() for name, part in module.named_parameters() if part.ndim > 1}
    of_critic = tuple(getattr(module, "CRITIC", ()))
    num_acting = sum(size for name, size in sizes.items() if not name.startswith(of_critic))
    return acting, acting * sum(sizes.values()) / num_acting


def speed() -> float:
    """Returns how many operations a second one core does in products of matrices in float32."""
    rows, inner, columns = _SHAPE
    left, right = torch.rand(rows, inner), torch.rand(inner, columns)
    threads, best, started = torch.get_num_threads(), float("inf"), time.perf_counter()
    torch.set_num_threads(1)
    try:
        while time.perf_counter() - started < _MEASURED_S:
            before = time.perf_counter()
            left @ right
            best = min(best, time.perf_counter() - before)
    finally:
        torch.set_num_threads(threads)
    return 2 * rows * inner * columns / best


def _rows(result: Mapping[str, Any], policy: str) -> tuple[float, float]:
    """Returns how many observations a policy acted on, and how many it was trained on."""
    acted = result["env_runners"].get(NUM_MODULE_STEPS_SAMPLED, {}).get(policy, 0)
    learned = result["learners"].get(policy, {})
    trained = learned.get(NUM_MODULE_STEPS_TRAINED, 0) * learned.get(UNIQUE_OBSERVATIONS, 1.0)
    return acted, trained
