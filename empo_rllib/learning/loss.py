"""PPO's loss, as `PPOTorchLearner.compute_loss_for_module` has it (Ray 2.60)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from ray.rllib.utils.torch_utils import explained_variance
from torch import Tensor


@dataclass(frozen=True)
class LossSettings:
    """The parameters of PPO's loss (Schulman et al. 2017), which RLlib's `PPOConfig` describes.

    Attributes:
        kl_coeff: None: no KL term.
        use_critic: False: no value loss.
    """

    clip_param: float
    vf_clip_param: float
    vf_loss_coeff: float
    entropy_coeff: float
    kl_coeff: float | None
    use_critic: bool


class Rows(NamedTuple):
    """What a minibatch of B steps compares with; see `PolicyBatch`."""

    actions: Tensor
    action_logp: Tensor
    action_dist_inputs: Tensor
    advantages: Tensor
    value_targets: Tensor


class Terms(NamedTuple):
    """Each step's part of the loss, float32 [B].

    Attributes:
        surrogate: the clipped objective, to be maximised.
        vf: squared error of the value, clipped.
        vf_unclipped: squared error of the value.
        entropy: of the policy's actions.
        kl: divergence from the policy that acted.
        values: the value estimates.
    """

    surrogate: Tensor
    vf: Tensor
    vf_unclipped: Tensor
    entropy: Tensor
    kl: Tensor
    values: Tensor


def loss_terms(
    module: Any, settings: LossSettings, rows: Rows, dist_inputs: Tensor, values: Tensor
) -> Terms:
    """Returns the parts of the loss.

    Args:
        module: the RLModule, which knows the distributions of its actions.
        settings: clipping and which parts are wanted.
        rows: what was sampled.
        dist_inputs: float32 [B, K], what the policy being trained makes of the observations.
        values: float32 [B], its value estimates.
    """
    current = module.get_train_action_dist_cls().from_logits(dist_inputs)
    zero = torch.zeros_like(rows.advantages)
    kl = zero
    if settings.kl_coeff is not None:
        acted = module.get_exploration_action_dist_cls().from_logits(rows.action_dist_inputs)
        kl = acted.kl(current)
    ratio = torch.exp(current.logp(rows.actions) - rows.action_logp)
    clipped = ratio.clamp(1 - settings.clip_param, 1 + settings.clip_param)
    surrogate = torch.min(rows.advantages * ratio, rows.advantages * clipped)
    if not settings.use_critic:
        return Terms(surrogate, zero, zero, current.entropy(), kl, zero)
    error = (values - rows.value_targets).square()
    vf = error.clamp(0, settings.vf_clip_param)
    return Terms(surrogate, vf, error, current.entropy(), kl, values)


def total_loss(settings: LossSettings, terms: Terms) -> Tensor:
    """Returns the loss of a minibatch, a scalar."""
    each = settings.vf_loss_coeff * terms.vf - terms.surrogate
    each = each - settings.entropy_coeff * terms.entropy
    if settings.kl_coeff is not None:
        each = each + settings.kl_coeff * terms.kl
    return each.mean()


def loss_metrics(terms: Terms, rows: Rows) -> dict[str, Tensor]:
    """Returns the parts of the loss under the keys that RLlib reports them under."""
    return {
        "policy_loss": -terms.surrogate.mean(),
        "vf_loss": terms.vf.mean(),
        "vf_loss_unclipped": terms.vf_unclipped.mean(),
        "vf_explained_var": explained_variance(rows.value_targets, terms.values),
        "entropy": terms.entropy.mean(),
        "mean_kl_loss": terms.kl.mean(),
    }
