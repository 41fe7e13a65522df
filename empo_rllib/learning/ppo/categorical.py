"""PPO's loss for discrete actions in one compiled loop, with its gradient.

On a CPU most of the time of a small network's update is the overhead of the many small tensor
operations of the loss, forward and backward. Here they are one kernel that reads the rows of the
minibatch where they are, and adds the gradients of all steps that share an observation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from ray.rllib.core.distribution.torch.torch_distribution import TorchCategorical
from torch import Tensor

from empo_rllib.envs.compiled import compiled
from empo_rllib.learning.ppo.batch import PolicyBatch
from empo_rllib.learning.ppo.loss import TOTAL_LOSS, LossSettings, explained_fraction
from empo_rllib.learning.ppo.update import Minibatch

_PARTS = ("policy_loss", "vf_loss", "vf_loss_unclipped", "entropy", "mean_kl_loss")


class CategoricalLoss:
    """`TorchLoss` for modules of which `fits` is true."""

    def __init__(self, settings: LossSettings, batch: PolicyBatch) -> None:
        self._settings = settings
        self._batch = batch
        self._parts = np.zeros(len(_PARTS))
        old = torch.log_softmax(batch.action_dist_inputs, dim=-1)
        arrays = (
            batch.actions,
            batch.action_logp,
            old,
            old.exp(),
            batch.advantages,
            batch.value_targets,
        )
        self._sampled = tuple(array.numpy() for array in arrays)

    @staticmethod
    def fits(module: Any, batch: PolicyBatch) -> bool:
        """Returns whether the actions of `module` are discrete, and its batch is on a CPU."""
        distributions = module.get_train_action_dist_cls(), module.get_exploration_action_dist_cls()
        on_cpu = batch.action_dist_inputs.device.type == "cpu"
        return on_cpu and all(found is TorchCategorical for found in distributions)

    def backward(self, minibatch: Minibatch, inputs: Tensor, values: Tensor | None) -> None:
        """See `Loss`."""
        settings = self._settings
        input_gradients = torch.zeros_like(inputs, requires_grad=False)
        valued = minibatch.valued
        known = torch.zeros(len(valued.observations)) if values is None else values.detach()
        value_gradients = torch.zeros_like(known)
        _loss(
            inputs.detach().numpy(),
            known.numpy(),
            minibatch.rows.numpy(),
            minibatch.places().numpy(),
            valued.places().numpy(),
            self._sampled,
            settings.clip_param,
            settings.vf_clip_param,
            settings.vf_loss_coeff if settings.use_critic else 0.0,
            settings.entropy_coeff,
            settings.kl_coeff is not None,
            settings.kl_coeff or 0.0,
            input_gradients.numpy(),
            value_gradients.numpy(),
            self._parts,
        )
        reached = [(inputs, input_gradients)]
        if values is not None:
            reached.append((values, value_gradients))
        reached = [(output, gradient) for output, gradient in reached if output.requires_grad]
        if reached:
            outputs, gradients = zip(*reached, strict=True)
            torch.autograd.backward(outputs, gradients)
        self._last = minibatch, None if values is None else known

    def metrics(self) -> dict[str, float]:
        """See `Loss`."""
        settings = self._settings
        parts = dict(zip(_PARTS, self._parts.tolist(), strict=True))
        if not settings.use_critic:
            parts["vf_loss"] = parts["vf_loss_unclipped"] = 0.0
        total = parts["policy_loss"] + settings.vf_loss_coeff * parts["vf_loss"]
        total -= settings.entropy_coeff * parts["entropy"]
        total += (settings.kl_coeff or 0.0) * parts["mean_kl_loss"]
        minibatch, values = self._last
        targets = self._batch.value_targets[minibatch.rows]
        spread = None if values is None else minibatch.valued.spread(values)
        explained = explained_fraction(targets, spread).item()
        return {TOTAL_LOSS: total, **parts, "vf_explained_var": explained}


@compiled
def _loss(
    logits: np.ndarray,  # [D, K]
    values: np.ndarray,  # [V]
    rows: np.ndarray,  # [B]
    position: np.ndarray,  # [B], of each row's logits
    value_position: np.ndarray,  # [B], of its value
    sampled: tuple[np.ndarray, ...],  # of all rows of the batch, unpacked below
    clip_param: float,
    vf_clip_param: float,
    vf_loss_coeff: float,
    entropy_coeff: float,
    with_kl: bool,
    kl_coeff: float,
    logit_gradients: np.ndarray,  # [D, K], zeros
    value_gradients: np.ndarray,  # [V], zeros
    parts: np.ndarray,  # means of the parts of the loss, as `_PARTS` names them
) -> None:
    actions, action_logp, old_logp, old_prob, advantages, value_targets = sampled
    num_seen, num_actions = logits.shape
    each = 1.0 / len(rows) if len(rows) else 0.0
    logp, prob, entropy = _softmax(logits)
    pull = np.zeros(num_seen)  # what is to be taken from each logit's gradient, times its prob
    parts[:] = 0.0
    for i in range(len(rows)):
        row, at, valued = rows[i], position[i], value_position[i]
        # In double precision, since products are compared that may be the same.
        action, advantage = actions[row], np.float64(advantages[row])
        ratio = math.exp(np.float64(logp[at, action] - action_logp[row]))
        clipped = min(max(ratio, 1.0 - clip_param), 1.0 + clip_param)
        surrogate = advantage * ratio
        if surrogate <= advantage * clipped:
            logit_gradients[at, action] -= surrogate * each
            pull[at] -= surrogate * each
        else:
            surrogate = advantage * clipped
        error = (values[valued] - value_targets[row]) ** 2
        if error <= vf_clip_param:
            slope = 2.0 * (values[valued] - value_targets[row])
            value_gradients[valued] += vf_loss_coeff * slope * each
        divergence = 0.0
        if with_kl:
            for k in range(num_actions):
                old = old_prob[row, k]
                if old > 0.0 and prob[at, k] > 0.0:
                    divergence += old * (old_logp[row, k] - logp[at, k])
                    logit_gradients[at, k] -= kl_coeff * old * each
                    pull[at] -= kl_coeff * old * each
                elif old > 0.0:
                    divergence = np.inf
        parts[0] -= surrogate
        parts[1] += min(error, vf_clip_param)
        parts[2] += error
        parts[3] += entropy[at]
        parts[4] += divergence
        if entropy_coeff != 0.0:
            for k in range(num_actions):
                if prob[at, k] > 0.0:
                    slope = prob[at, k] * (logp[at, k] + entropy[at])
                    logit_gradients[at, k] += entropy_coeff * slope * each
    for at in range(num_seen):
        for k in range(num_actions):
            logit_gradients[at, k] -= pull[at] * prob[at, k]
    parts *= each


@compiled
def _softmax(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns log probabilities [D, K], probabilities [D, K] and entropies [D]."""
    logp, prob = np.empty_like(logits), np.empty_like(logits)
    entropy = np.zeros(len(logits), logits.dtype)
    for i in range(len(logits)):
        highest = logits[i].max()
        total = 0.0
        for k in range(logits.shape[1]):
            total += math.exp(logits[i, k] - highest)
        for k in range(logits.shape[1]):
            logp[i, k] = logits[i, k] - highest - math.log(total)
            prob[i, k] = math.exp(logp[i, k])
            if prob[i, k] > 0.0:
                entropy[i] -= prob[i, k] * logp[i, k]
    return logp, prob, entropy
