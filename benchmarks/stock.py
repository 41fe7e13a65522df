"""RLlib's own sampler and learner over this package's adapter and network.

    python -m benchmarks.stock          1, 8 and 32 envs on the main job

`resources.sampler: rllib` leaves RLlib's `MultiAgentEnvRunner` and `PPOTorchLearner` in place; env,
network and hyperparameters are those of the experiment. The adapter is lean: with the wrapper of
`multigrid`'s own repository RLlib is slower still.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STOCK_ENVS = (1, 8, 32)


def stock(experiment: Mapping[str, Any], num_envs: int) -> dict[str, Any]:
    """Returns the experiment on RLlib's own path with so many envs."""
    resources = {
        **experiment["resources"],
        "sampler": "rllib",
        "num_envs_per_env_runner": num_envs,
    }
    return {**experiment, "resources": resources}


def stock_name(num_envs: int) -> str:
    """Returns what reports call stock with so many envs."""
    return f"stock, {num_envs} env{'s' * (num_envs > 1)}"


def check_is_stock(algorithm: Any) -> None:
    """Raises RuntimeError unless RLlib's own env runner and learner are in this `Algorithm`."""
    from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
    from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner

    found = (type(algorithm.env_runner), algorithm.config.learner_class)
    if found != (MultiAgentEnvRunner, PPOTorchLearner):
        raise RuntimeError(f"not RLlib's own path: {found}")


if __name__ == "__main__":
    from benchmarks.throughput import measure_stock

    measure_stock()
