"""PPO's loss, as `PPOTorchLearner.compute_loss_for_module` has it (Ray 2.60)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from ray.rllib.core.distribution.torch.torch_distribution import (
    TorchCategorical,
    TorchMultiCategorical,
)
from ray.rllib.utils.torch_utils import explained_variance
from torch import Tensor

from empo_rllib.learning.ppo.batch import PolicyBatch
from empo_rllib.learning.ppo.update import Minibatch

TOTAL_LOSS = "total_loss"


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


class Loss(Protocol):
    """The loss of one policy, whose network's outputs come minibatch after minibatch."""

    def backward(self, minibatch: Minibatch, inputs: Tensor, values: Tensor | None) -> None:
        """Adds the gradients of a minibatch to the network's parameters.

        Args:
            minibatch: B steps with D observations.
            inputs: float32 [D, K], of the action distributions.
            values: float32, those of `minibatch.valued`; None without a critic.
        """

    def metrics(self) -> dict[str, float]:
        """Returns the last minibatch's loss and its parts, under the keys of RLlib."""


class Terms(NamedTuple):
    """Each step's part of the loss, float32 [B].

    Attributes:
        surrogate: the clipped objective, to be maximised.
        vf: squared error of the value, clipped.
        vf_unclipped: squared error of the value.
        entropy: of the policy's actions.
        kl: divergence from the policy that acted.
    """

    surrogate: Tensor
    vf: Tensor
    vf_unclipped: Tensor
    entropy: Tensor
    kl: Tensor


class TorchLoss:
    """The loss for any distribution of actions, on any device.

    Args:
        module: the RLModule, which knows its distributions.
        settings: the loss's parameters.
        batch: what was sampled.
    """

    def __init__(self, module: Any, settings: LossSettings, batch: PolicyBatch) -> None:
        self._current_cls = module.get_train_action_dist_cls()
        self._acted_cls = module.get_exploration_action_dist_cls()
        self._action_space = module.action_space
        self._settings = settings
        self._batch = batch

    def backward(self, minibatch: Minibatch, inputs: Tensor, values: Tensor | None) -> None:
        """See `Loss`."""
        inputs = minibatch.spread(inputs)
        values = None if values is None else minibatch.valued.spread(values)
        terms = self._terms(minibatch.rows, inputs, values)
        loss = self._total(terms)
        if loss.requires_grad:
            loss.backward()
        self._last = loss, terms, minibatch, values

    def metrics(self) -> dict[str, float]:
        """See `Loss`."""
        loss, terms, minibatch, values = self._last
        targets = self._batch.value_targets[minibatch.rows]
        parts = {
            TOTAL_LOSS: loss,
            "policy_loss": -terms.surrogate.mean(),
            "vf_loss": terms.vf.mean(),
            "vf_loss_unclipped": terms.vf_unclipped.mean(),
            "vf_explained_var": explained_fraction(targets, values),
            "entropy": terms.entropy.mean(),
            "mean_kl_loss": terms.kl.mean(),
        }
        numbers = torch.stack(list(parts.values())).tolist()
        return dict(zip(parts, numbers, strict=True))

    def _terms(self, rows: Tensor, inputs: Tensor, values: Tensor | None) -> Terms:
        settings, batch = self._settings, self._batch
        current = self._current_cls.from_logits(inputs)
        advantages = batch.advantages[rows]
        kl = vf = error = torch.zeros_like(advantages)
        if settings.kl_coeff is not None:
            kl = self._divergence(batch.action_dist_inputs[rows], inputs, current)
        ratio = torch.exp(current.logp(batch.actions[rows]) - batch.action_logp[rows])
        clipped = ratio.clamp(1 - settings.clip_param, 1 + settings.clip_param)
        surrogate = torch.min(advantages * ratio, advantages * clipped)
        if values is not None:
            error = (values - batch.value_targets[rows]).square()
            vf = error.clamp(0, settings.vf_clip_param)
        return Terms(surrogate, vf, error, current.entropy(), kl)

    def _divergence(self, acted: Tensor, inputs: Tensor, current: Any) -> Tensor:
        if isinstance(current, TorchMultiCategorical):
            sizes = self._action_space.nvec.flatten().tolist()
        elif isinstance(current, TorchCategorical):
            sizes = [inputs.shape[1]]
        else:
            return self._acted_cls.from_logits(acted).kl(current)
        parts = zip(acted.split(sizes, dim=1), inputs.split(sizes, dim=1), strict=True)
        return torch.stack([divergence(old, new) for old, new in parts]).sum(dim=0)

    def _total(self, terms: Terms) -> Tensor:
        settings = self._settings
        each = settings.vf_loss_coeff * terms.vf - terms.surrogate
        each = each - settings.entropy_coeff * terms.entropy
        if settings.kl_coeff is not None:
            each = each + settings.kl_coeff * terms.kl
        return each.mean()


def divergence(acted: Tensor, current: Tensor) -> Tensor:
    """Returns the Kullback-Leibler divergence of categories from their logits.

    Torch's is infinite where a probability of `current` is too small for its type, which it
    becomes in a policy that is sure of itself; the logarithms are still right there.

    Args:
        acted: float [B, K].
        current: float [B, K].

    Returns:
        float [B].
    """
    logp, prob = acted.log_softmax(dim=1), acted.softmax(dim=1)
    each = prob * (logp - current.log_softmax(dim=1))
    return torch.where(prob > 0, each, 0.0).sum(dim=1)


def explained_fraction(targets: Tensor, values: Tensor | None) -> Tensor:
    """Returns which part of the targets' variance the values explain, a scalar."""
    if len(targets) < 2:
        return targets.new_tensor(math.nan)
    predicted = torch.zeros_like(targets) if values is None else values.detach()
    return explained_variance(targets, predicted)
