"""Training one policy's network on its minibatches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import tree
from ray.rllib.core.columns import Columns
from torch import nn

from empo_rllib.learning.ppo.batch import PolicyBatch, network_batch
from empo_rllib.learning.ppo.categorical import CategoricalLoss
from empo_rllib.learning.ppo.loss import Loss, LossSettings, TorchLoss
from empo_rllib.learning.ppo.update import Minibatch, PolicyUpdate


def train(
    module: Any, update: PolicyUpdate, settings: LossSettings, step: Callable[[bool], None]
) -> dict[str, float]:
    """Runs over all minibatches of a policy.

    A `value_norm` of the network first takes in the value targets of all steps. The loss then
    compares normalised values with normalised targets.

    Args:
        module: its RLModule.
        update: the minibatches.
        settings: the loss's parameters.
        step: applies the gradients; told whether they are those of the last minibatch.

    Returns:
        The metrics of the last minibatch.
    """
    parameters = list(module.parameters())
    norm = getattr(module, "value_norm", None)
    batch = update.batch if norm is None else _normalized(update.batch, norm, module.critic)
    loss = _loss(module, settings, batch)
    # One of artificial rows only has nothing to teach; RLlib's loss is not a number there.
    minibatches = [minibatch for minibatch in update.minibatches if len(minibatch.rows)]
    # `forward_train` is nothing but these two; the first walks through all parts of the network.
    module.train()
    forward_train = module._forward_train
    for minibatch in minibatches:
        clear_gradients(parameters)
        states = _states(batch, minibatch)
        seen = network_batch(batch.observations, minibatch.observations, states)
        outputs = forward_train(seen)
        inputs, values = outputs[Columns.ACTION_DIST_INPUTS], None
        if settings.use_critic:
            if batch.critic is not None:
                valued = minibatch.valued.observations
                seen = network_batch(batch.critic.inputs, valued, states, of_critic=True)
            values = module.compute_values(seen, embeddings=outputs.get(Columns.EMBEDDINGS))
            values = values if norm is None else norm.normalize(values)
        if states is not None:  # [S, T, ..] to [S * T, ..]
            inputs = inputs.flatten(0, 1)
            values = None if values is None else values.flatten()
        loss.backward(minibatch, inputs, values)
        step(minibatch is minibatches[-1])
    clear_gradients(parameters)
    return loss.metrics()


def _states(batch: PolicyBatch, minibatch: Minibatch) -> Any:
    """Returns what a network with a memory remembered before a minibatch's sequences, or None."""
    if batch.sequences is None:
        return None
    return tree.map_structure(lambda leaf: leaf[minibatch.sequences], batch.sequences.states)


def _normalized(batch: PolicyBatch, norm: Any, head: nn.Module) -> PolicyBatch:
    """Lets `norm` take in the batch's value targets; returns the batch with normalised ones."""
    is_step = torch.from_numpy(batch.is_step).to(batch.value_targets.device)
    norm.update(batch.value_targets[is_step], head)
    return replace(batch, value_targets=norm.normalize(batch.value_targets))


def _loss(module: Any, settings: LossSettings, batch: PolicyBatch) -> Loss:
    if CategoricalLoss.fits(module, batch):
        return CategoricalLoss(settings, batch)
    return TorchLoss(module, settings, batch)


def clear_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Removes gradients; `Optimizer.zero_grad` takes longer."""
    for parameter in parameters:
        parameter.grad = None
