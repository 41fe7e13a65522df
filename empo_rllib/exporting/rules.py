"""How a policy's actions follow from its network's output, as data for `ActionRule`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.algorithms.dqn.default_dqn_rl_module import DefaultDQNRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import (
    TorchCategorical,
    TorchDiagGaussian,
    TorchMultiCategorical,
    TorchSquashedGaussian,
)
from ray.rllib.core.rl_module.rl_module import RLModule
from torch import Tensor

from empo_rllib.acting.memory import drop_time
from empo_rllib.errors import BundleError
from empo_rllib.exporting.spaces import plain

_DISTRIBUTIONS: tuple[tuple[str, type, type[gym.Space]], ...] = (
    ("categorical", TorchCategorical, gym.spaces.Discrete),
    ("multi_categorical", TorchMultiCategorical, gym.spaces.MultiDiscrete),
    ("squashed_gaussian", TorchSquashedGaussian, gym.spaces.Box),
    ("gaussian", TorchDiagGaussian, gym.spaces.Box),
)


def action_rule(
    module: RLModule,
    batch: dict[str, Any],
    action_space: gym.Space,
    env_space: gym.Space,
    *,
    normalize_actions: bool,
    env_steps: int,
) -> dict[str, Any]:
    """Returns the data of a policy's `ActionRule`.

    Args:
        module: The policy's network, with its weights.
        batch: A batch that it can read.
        action_space: What the policy chooses from.
        env_space: Of one agent, as the environment has it.
        normalize_actions: As in `ActingPolicy`.
        env_steps: As in `ActingPolicy`.

    Raises:
        BundleError: the actions follow from the output in a way that bundles do not know.
    """
    with torch.no_grad():
        outputs = module.forward_inference(batch)
    if module.is_stateful():
        outputs = drop_time(outputs)
    rule: dict[str, Any] = {"kind": "actions", "can_draw": False}
    if isinstance(module, DefaultDQNRLModule):
        rule = {"kind": "q_values", "can_draw": True, "size": int(action_space.n)}  # type: ignore[attr-defined]
        rule["epsilon"] = _epsilon(module, env_steps)
    elif Columns.ACTIONS in outputs:
        rule["size"] = _row_size(module, outputs[Columns.ACTIONS], action_space)
    elif Columns.ACTION_DIST_INPUTS in outputs:
        rule["kind"] = _kind(module.get_inference_action_dist_cls(), module, action_space)
        rule["can_draw"] = _draws_alike(rule["kind"], module, batch, action_space, env_steps)
        rule["size"] = int(outputs[Columns.ACTION_DIST_INPUTS].shape[-1])
    else:
        raise BundleError(f"{type(module).__name__} returns neither actions nor what to draw from.")
    if isinstance(action_space, gym.spaces.MultiDiscrete):
        rule["sizes"] = action_space.nvec.tolist()
    if isinstance(env_space, gym.spaces.Box) and isinstance(action_space, gym.spaces.Box):
        rule["box"] = _box(env_space, normalize_actions)
    elif env_space != action_space:
        rule["whole_numbers"] = _whole_numbers(env_space)
    return rule


def _kind(distribution: type, module: RLModule, action_space: gym.Space) -> str:
    for kind, known, space in _DISTRIBUTIONS:
        if issubclass(distribution, known) and isinstance(action_space, space):
            return kind
    raise BundleError(
        f"{type(module).__name__} draws from {distribution.__name__} in {action_space}: bundles "
        "know Discrete, MultiDiscrete and Box actions with RLlib's own distributions for them."
    )


def _row_size(module: RLModule, actions: Any, action_space: gym.Space) -> int | None:
    if not isinstance(actions, Tensor):
        raise BundleError(
            f"{type(module).__name__} returns actions in {action_space}: bundles know Discrete, "
            "MultiDiscrete and Box."
        )
    return None if actions.ndim == 1 else int(np.prod(actions.shape[1:]))


def _draws_alike(
    kind: str, module: RLModule, batch: dict[str, Any], action_space: gym.Space, env_steps: int
) -> bool:
    """Whether training draws actions from what the greedy ones are taken of."""
    with torch.no_grad():
        greedy = module.forward_inference(batch)[Columns.ACTION_DIST_INPUTS]
        explored = module.forward_exploration(batch, t=env_steps)
    if Columns.ACTIONS in explored or Columns.ACTION_DIST_INPUTS not in explored:
        return False
    drawn_from = _kind(module.get_exploration_action_dist_cls(), module, action_space)
    return drawn_from == kind and torch.equal(explored[Columns.ACTION_DIST_INPUTS], greedy)


def _epsilon(module: DefaultDQNRLModule, env_steps: int) -> float:
    module.epsilon_schedule.update(env_steps)
    return float(module.epsilon_schedule.get_current_value())


def _box(space: gym.spaces.Box, normalize: bool) -> dict[str, Any]:
    if space.dtype not in (np.float32, np.float64):
        raise BundleError(f"actions in {space} cannot be exported: bundles know 32 and 64 bits.")
    bounded = bool(np.all(space.bounded_below) and np.all(space.bounded_above))
    return {
        "shape": list(space.shape),
        "dtype": str(space.dtype),
        "low": plain(space.low.ravel()),
        "high": plain(space.high.ravel()),
        "bounds": "unsquash" if normalize and bounded else "clip",
    }


def _whole_numbers(space: gym.Space) -> dict[str, Any]:
    lowest: Any = getattr(space, "start", getattr(space, "low", 0))
    return {
        "shape": list(space.shape or ()),
        "start": np.broadcast_to(lowest, space.shape or ()).ravel().tolist(),
        "dtype": str(space.dtype),
    }
