"""The one way from an RLModule's outputs to actions for the environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import (
    TorchCategorical,
    TorchSquashedGaussian,
)
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.utils.spaces.space_utils import unsquash_action
from torch import Tensor

from empo_rllib.errors import ConfigError

_SHORTEST = torch.finfo(torch.float32).tiny


def acting_pass(module: RLModule, greedy: bool) -> Callable[..., dict[str, Any]]:
    """Returns the network's pass for acting, and leaves the network in evaluation mode.

    The public `forward_inference` and `forward_exploration` switch every part of the network to
    that mode and back at each step, which costs as much as a small network.
    """
    module.eval()
    return module._forward_inference if greedy else module._forward_exploration


def choose_actions(module: RLModule, outputs: Mapping[str, Any], greedy: bool) -> Any:
    """Returns actions [B, ...] as the policy's distribution has them, nested as their space.

    Args:
        module: The policy's network.
        outputs: Those of inference if `greedy`, otherwise those of exploration.
        greedy: Take the most likely actions; otherwise sample them.

    Raises:
        ConfigError: the network returns neither actions nor what to sample them from.
    """
    if Columns.ACTIONS in outputs:  # a network may name its actions itself
        return outputs[Columns.ACTIONS]
    distribution = _distribution(module, outputs, greedy)
    return _most_likely(distribution) if greedy else distribution.sample()


def choose_with_logp(
    module: RLModule, outputs: Mapping[str, Any], greedy: bool
) -> tuple[Tensor, Tensor]:
    """Returns actions [B, ...] and their log-probabilities [B], as RLlib's `GetActions`.

    Arguments and errors are those of `choose_actions`. Categorical actions are sampled with
    fewer operations, and so with other random numbers, than there.
    """
    if greedy:
        actions = choose_actions(module, outputs, greedy)
        return actions, torch.zeros(len(actions))  # certain
    actions, logp = outputs.get(Columns.ACTIONS), outputs.get(Columns.ACTION_LOGP)
    if actions is None and module.get_exploration_action_dist_cls() is TorchCategorical:
        return sample_categorical(_inputs(module, outputs))
    if actions is None or logp is None:
        distribution = _distribution(module, outputs, greedy)
        actions = distribution.sample() if actions is None else actions
        logp = distribution.logp(actions) if logp is None else logp
    return actions, logp


def sample_categorical(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Samples one action per row of logits [B, K]; returns int64 [B] and log-probability [B].

    The race of exponential clocks (what `torch.multinomial` does for one draw): the smallest of
    Exp(1) / p has index k with probability p_k. Cheaper than a distribution object.
    """
    log_probs = torch.log_softmax(logits, -1)
    # Never 0, which would win for an action of no probability, too.
    clocks = torch.empty_like(log_probs).exponential_().clamp_min_(_SHORTEST)
    actions = (log_probs - clocks.log()).argmax(-1)
    return actions, log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1)


def actions_for_env(actions: Any, space: Any, normalize: bool) -> Any:
    """Returns actions as RLlib's `NormalizeAndClipActions` hands them to the environment.

    What is still beyond the bounds of a Box is clipped there (`envs/actions.py`).

    Args:
        actions: One or, for a plain space, arrays of them, as the policy's distribution has them.
        space: Their space, nested as `get_base_struct_from_space` returns it.
        normalize: Map Box actions from [-1, 1] to the bounds of the space.
    """
    return unsquash_action(actions, space) if normalize else actions


def _distribution(module: RLModule, outputs: Mapping[str, Any], greedy: bool) -> Any:
    inputs = _inputs(module, outputs)
    if greedy:
        return module.get_inference_action_dist_cls().from_logits(inputs)
    return module.get_exploration_action_dist_cls().from_logits(inputs)


def _inputs(module: RLModule, outputs: Mapping[str, Any]) -> Tensor:
    if Columns.ACTION_DIST_INPUTS not in outputs:
        raise ConfigError(
            f"{type(module).__name__} must return {Columns.ACTIONS!r} or "
            f"{Columns.ACTION_DIST_INPUTS!r}; it returned {', '.join(outputs) or 'nothing'}."
        )
    inputs: Tensor = outputs[Columns.ACTION_DIST_INPUTS]
    return inputs


def _most_likely(distribution: Any) -> Any:
    if isinstance(distribution, TorchSquashedGaussian):
        # Ray 2.60 returns the middle unsquashed, another action than the policy learned
        # (ray-project/ray issue 51544): draw with no deviation instead.
        middle, low, high = distribution.loc, distribution.low, distribution.high
        return TorchSquashedGaussian(middle, torch.zeros_like(middle), low, high).sample()
    return distribution.to_deterministic().sample()
