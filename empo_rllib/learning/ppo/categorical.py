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

PARTS = ("policy_loss", "vf_loss", "vf_loss_unclipped", "entropy", "mean_kl_loss")


class CategoricalLoss:
    """`TorchLoss` for modules of which `fits` is true."""

    def __init__(self, settings: LossSettings, batch: PolicyBatch) -> None:
        self._settings = settings
        self._batch = batch
        self._parts = np.zeros(len(PARTS))
        self._ends = np.array([batch.action_dist_inputs.shape[1]])
        self._sampled = sampled_arrays(batch, self._ends)

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
        add_loss(
            inputs.detach().numpy(),
            known.numpy(),
            minibatch.rows.numpy(),
            minibatch.places().numpy(),
            valued.places().numpy(),
            self._sampled,
            self._ends,
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
        minibatch, values = self._last
        spread = None if values is None else minibatch.valued.spread(values)
        targets = self._batch.value_targets[minibatch.rows]
        return loss_metrics(self._settings, self._parts, targets, spread)


def sampled_arrays(batch: PolicyBatch, ends: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns what `add_loss` reads of all rows of a batch.

    Args:
        batch: the rows, on a CPU.
        ends: where the logits of each dimension of the actions end.
    """
    logits = batch.action_dist_inputs.split(np.diff(ends, prepend=0).tolist(), dim=1)
    old = torch.cat([torch.log_softmax(part, dim=-1) for part in logits], dim=1)
    arrays = (
        batch.actions.reshape(len(batch), -1),
        batch.action_logp,
        old,
        old.exp(),
        batch.advantages,
        batch.value_targets,
    )
    return tuple(array.numpy() for array in arrays)


def loss_metrics(
    settings: LossSettings, parts_of_loss: np.ndarray, targets: Tensor, values: Tensor | None
) -> dict[str, float]:
    """Returns a minibatch's loss and its parts, under the keys of RLlib.

    Args:
        settings: the loss's parameters.
        parts_of_loss: as `add_loss` left them.
        targets: of the values, float32 [B].
        values: float32 [B]; None without a critic.
    """
    parts = dict(zip(PARTS, parts_of_loss.tolist(), strict=True))
    if not settings.use_critic:
        parts["vf_loss"] = parts["vf_loss_unclipped"] = 0.0
    total = parts["policy_loss"] + settings.vf_loss_coeff * parts["vf_loss"]
    total -= settings.entropy_coeff * parts["entropy"]
    total += (settings.kl_coeff or 0.0) * parts["mean_kl_loss"]
    explained = explained_fraction(targets, values).item()
    return {TOTAL_LOSS: total, **parts, "vf_explained_var": explained}


@compiled
def add_loss(
    logits: np.ndarray,  # [D, K]
    values: np.ndarray,  # [V]
    rows: np.ndarray,  # [B]
    position: np.ndarray,  # [B], of each row's logits
    value_position: np.ndarray,  # [B], of its value
    sampled: tuple[np.ndarray, ...],  # of all rows of the batch: what `sampled_arrays` returns
    ends: np.ndarray,  # where the logits of each dimension of the actions end
    clip_param: float,
    vf_clip_param: float,
    vf_loss_coeff: float,
    entropy_coeff: float,
    with_kl: bool,
    kl_coeff: float,
    logit_gradients: np.ndarray,  # [D, K], zeros
    value_gradients: np.ndarray,  # [V], zeros
    parts: np.ndarray,  # means of the parts of the loss, as `PARTS` names them
) -> None:
    """Adds the gradients of a minibatch to those of the network's outputs."""
    actions, action_logp, old_logp, old_prob, advantages, value_targets = sampled
    num_seen, num_dimensions = len(logits), len(ends)
    each = 1.0 / len(rows) if len(rows) else 0.0
    logp, prob, entropy = _softmax(logits, ends)
    # What is to be taken from each logit's gradient, times its prob.
    pull = np.zeros((num_seen, num_dimensions))
    parts[:] = 0.0
    for i in range(len(rows)):
        row, at, valued = rows[i], position[i], value_position[i]
        # In double precision, since products are compared that may be the same.
        advantage = np.float64(advantages[row])
        taken, begin = -np.float64(action_logp[row]), 0
        for d in range(num_dimensions):
            taken += np.float64(logp[at, begin + actions[row, d]])
            begin = ends[d]
        ratio = math.exp(taken)
        clipped = min(max(ratio, 1.0 - clip_param), 1.0 + clip_param)
        surrogate = advantage * ratio
        is_open = surrogate <= advantage * clipped
        if not is_open:
            surrogate = advantage * clipped
        error = (values[valued] - value_targets[row]) ** 2
        if error <= vf_clip_param:
            slope = 2.0 * (values[valued] - value_targets[row])
            value_gradients[valued] += vf_loss_coeff * slope * each
        parts[0] -= surrogate
        parts[1] += min(error, vf_clip_param)
        parts[2] += error
        begin = 0
        for d in range(num_dimensions):
            if is_open:
                logit_gradients[at, begin + actions[row, d]] -= surrogate * each
                pull[at, d] -= surrogate * each
            if with_kl:
                divergence = 0.0
                for k in range(begin, ends[d]):
                    old = old_prob[row, k]
                    if old > 0.0:
                        divergence += old * (old_logp[row, k] - logp[at, k])
                        logit_gradients[at, k] -= kl_coeff * old * each
                        pull[at, d] -= kl_coeff * old * each
                parts[4] += divergence
            parts[3] += entropy[at, d]
            if entropy_coeff != 0.0:
                for k in range(begin, ends[d]):
                    if prob[at, k] > 0.0:
                        slope = prob[at, k] * (logp[at, k] + entropy[at, d])
                        logit_gradients[at, k] += entropy_coeff * slope * each
            begin = ends[d]
    for at in range(num_seen):
        begin = 0
        for d in range(num_dimensions):
            for k in range(begin, ends[d]):
                logit_gradients[at, k] -= pull[at, d] * prob[at, k]
            begin = ends[d]
    parts *= each


@compiled
def _softmax(logits: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns log probabilities [D, K], probabilities [D, K] and entropies [D, dimensions]."""
    logp, prob = np.empty_like(logits), np.empty_like(logits)
    entropy = np.zeros((len(logits), len(ends)), logits.dtype)
    for i in range(len(logits)):
        begin = 0
        for d in range(len(ends)):
            highest = logits[i, begin : ends[d]].max()
            total = 0.0
            for k in range(begin, ends[d]):
                total += math.exp(logits[i, k] - highest)
            for k in range(begin, ends[d]):
                logp[i, k] = logits[i, k] - highest - math.log(total)
                prob[i, k] = math.exp(logp[i, k])
                if prob[i, k] > 0.0:
                    entropy[i, d] -= prob[i, k] * logp[i, k]
            begin = ends[d]
    return logp, prob, entropy
