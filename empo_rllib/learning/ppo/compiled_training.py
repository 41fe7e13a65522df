"""Training one policy's network on all its minibatches in kernels, without a step in Python.

Parameters and Adam's state are the RLModule's and torch's own: they are copied into flat vectors
before the first minibatch, and back after the last. Of the first layer only those columns are
copied that an observation of the batch uses, or that Adam still moves: it would leave the others
where they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from torch import Tensor, nn

from empo_rllib.kernels.adam import CLIPPING, Adam, adam_step, clip_in_place, total_norm
from empo_rllib.kernels.blas import one_blas_thread
from empo_rllib.kernels.layers import (
    Shape,
    Work,
    allocate_work,
    backward,
    compiled_loop,
    forbid,
    forward,
    shape_of,
)
from empo_rllib.kernels.network import Network, describe
from empo_rllib.kernels.observations import Coded, Reader
from empo_rllib.learning.ppo.categorical import PARTS, add_loss, loss_metrics, sampled_arrays
from empo_rllib.learning.ppo.loss import LossSettings
from empo_rllib.learning.ppo.update import PolicyUpdate

#: In `learner_config_dict`: False trains every network in torch. For comparisons, and to look for
#: errors.
KERNELS = "kernels"

_PLAIN_ADAM = {"weight_decay": 0, "amsgrad": False, "maximize": False}


class Trained(NamedTuple):
    """What kernels made of a policy's minibatches.

    Attributes:
        minibatches: how many they trained on, before gradients were not finite.
        metrics: of the last one.
        norm: of its gradients, before they were clipped.
        clipped_norm: after that.
    """

    minibatches: int
    metrics: dict[str, float]
    norm: float
    clipped_norm: float


class _Plan(NamedTuple):
    """Minibatches one after the other.

    Attributes:
        observations: int64, those that the network runs on.
        observation_ends: int64 [M + 1].
        rows: int64, of the `PolicyBatch`.
        row_ends: int64 [M + 1].
        position: int64, which of a minibatch's observations belongs to each row.
    """

    observations: np.ndarray
    observation_ends: np.ndarray
    rows: np.ndarray
    row_ends: np.ndarray
    position: np.ndarray


class _Loss(NamedTuple):
    """`LossSettings` for kernels."""

    clip_param: float
    vf_clip_param: float
    vf_loss_coeff: float
    entropy_coeff: float
    with_kl: bool
    kl_coeff: float


def compiled_network(module: Any, config: AlgorithmConfig) -> Network | str:
    """Returns the network that kernels train, or one phrase that says why torch trains it.

    Args:
        module: the RLModule of a policy.
        config: the policy's.
    """
    if not config.learner_config_dict.get(KERNELS, True):
        return f"learner_config_dict has {KERNELS}: false"
    if not config.use_critic:
        return "use_critic is off"
    if module.is_stateful():
        return "the network has a memory"
    return describe(module)


def train_compiled(
    network: Network,
    optimizers: Sequence[torch.optim.Optimizer],
    update: PolicyUpdate,
    settings: LossSettings,
    config: AlgorithmConfig,
) -> Trained | None:
    """Trains on minibatches until gradients are not finite; on none where kernels do not fit.

    Args:
        network: of the policy's RLModule.
        optimizers: of the policy.
        update: the minibatches; some have no rows, and teach nothing.
        settings: the loss's parameters.
        config: those of the policy.
    """
    if len(optimizers) != 1:
        return None
    state = _AdamState.of(optimizers[0], network, config)
    minibatches = [minibatch for minibatch in update.minibatches if len(minibatch.rows)]
    finite = all(bool(p.isfinite().all()) for p in network.parameters)
    if state is None or not minibatches or not finite:
        return None
    plan = _Plan(
        *_joined([minibatch.observations for minibatch in minibatches]),
        *_joined([minibatch.rows for minibatch in minibatches]),
        _joined([minibatch.places() for minibatch in minibatches])[0],
    )
    largest = int(np.diff(plan.observation_ends).max())
    each = len(plan.observations) / len(minibatches)
    read = Reader(network.parts).encode(update.batch.observations, state.in_use(network), each)
    if read is None:
        return None
    shape = shape_of(network, len(read.columns))
    vectors = [_flat(network, read.columns, of) for of in (state.value, state.mean, state.square)]
    ends = np.cumsum(network.action_sizes)
    outputs = np.empty((largest, shape.num_logits + 1), np.float32)
    parts, norms = np.zeros(len(PARTS)), np.zeros(2)
    with one_blas_thread():
        done, last = _train(
            vectors[0],
            vectors[1],
            vectors[2],
            state.step,
            state.adam,
            shape,
            read.coded,
            plan,
            sampled_arrays(update.batch, ends),
            ends,
            network.mask,
            _loss_numbers(settings),
            allocate_work(shape, read.coded, largest, np.float32),
            outputs,
            parts,
            norms,
        )
    for flat, of in zip(vectors, (state.value, state.mean, state.square), strict=True):
        _write_back(flat, network, read.columns, of)
    state.set_steps(state.step + done)
    if done < len(minibatches):
        at = [minibatch is minibatches[done] for minibatch in update.minibatches].index(True)
        return Trained(at, {}, math.nan, math.nan)
    minibatch = minibatches[-1]
    values = minibatch.spread(torch.from_numpy(outputs[:last, -1].copy()))
    targets = update.batch.value_targets[minibatch.rows]
    metrics = loss_metrics(settings, parts, targets, values)
    return Trained(len(update.minibatches), metrics, float(norms[0]), float(norms[1]))


@compiled_loop
def _train(
    parameters: np.ndarray,
    mean: np.ndarray,
    square: np.ndarray,
    step: int,
    adam: Adam,
    shape: Shape,
    coded: Coded,
    plan: _Plan,
    sampled: tuple[np.ndarray, ...],
    ends: np.ndarray,
    mask: int,
    loss: _Loss,
    work: Work,
    outputs: np.ndarray,  # [D, K + 1], written: the values of the last minibatch
    parts: np.ndarray,  # of the last minibatch's loss
    norms: np.ndarray,  # of the last minibatch's gradients, before and after clipping
) -> tuple[int, int]:
    """Returns how many minibatches were trained on, and how many observations the last had."""
    gradients = np.empty_like(parameters)
    num_minibatches = len(plan.row_ends) - 1
    count = 0
    for number in range(num_minibatches):
        seen = plan.observations[plan.observation_ends[number] : plan.observation_ends[number + 1]]
        begin, end = plan.row_ends[number], plan.row_ends[number + 1]
        count = len(seen)
        logits = np.empty((count, shape.num_logits), parameters.dtype)
        values = np.empty((count, 1), parameters.dtype)
        forward(parameters, shape, coded, seen, work, logits, values)
        forbid(logits, coded.numbers, seen, mask)
        logit_slopes, value_slopes = np.zeros_like(logits), np.zeros_like(values)
        add_loss(
            logits,
            values[:, 0],
            plan.rows[begin:end],
            plan.position[begin:end],
            plan.position[begin:end],
            sampled,
            ends,
            loss.clip_param,
            loss.vf_clip_param,
            loss.vf_loss_coeff,
            loss.entropy_coeff,
            loss.with_kl,
            loss.kl_coeff,
            logit_slopes,
            value_slopes[:, 0],
            parts,
        )
        backward(parameters, shape, coded, seen, work, logit_slopes, value_slopes, gradients)
        norm = total_norm(gradients)
        if not math.isfinite(norm):
            return number, count
        clip_in_place(gradients, shape.starts, norm, adam)
        adam_step(parameters, gradients, mean, square, step + number + 1, adam)
        if number == num_minibatches - 1:
            norms[0], norms[1] = norm, total_norm(gradients)
            outputs[:count, -1] = values[:, 0]
    return num_minibatches, count


class _AdamState:
    """The state of torch's Adam for a network's parameters.

    Attributes:
        step: how many steps were made.
        adam: its settings, and those of clipping.
    """

    def __init__(
        self, states: dict[nn.Parameter, dict[str, Tensor]], step: int, adam: Adam
    ) -> None:
        self._states = states
        self.step, self.adam = step, adam

    @classmethod
    def of(
        cls, optimizer: torch.optim.Optimizer, network: Network, config: AlgorithmConfig
    ) -> _AdamState | None:
        """Returns the state, made where there is none yet; None where kernels do not fit it."""
        group, *others = optimizer.param_groups
        known = {id(parameter) for parameter in group["params"]}
        plain = all(group.get(name, value) == value for name, value in _PLAIN_ADAM.items())
        if others or not plain or known != {id(p) for p in network.parameters}:
            return None
        states = {parameter: optimizer.state[parameter] for parameter in network.parameters}
        for parameter, state in states.items():
            if not state:  # as `torch.optim.Adam` does before its first step
                state["step"] = torch.zeros((), dtype=torch.float32)
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
        steps = {float(state["step"]) for state in states.values()}
        if len(steps) > 1:
            return None
        clip = config.grad_clip or 0.0
        clip_by = CLIPPING[config.grad_clip_by if config.grad_clip else "none"]
        beta1, beta2 = group["betas"]
        adam = Adam(float(group["lr"]), beta1, beta2, group["eps"], float(clip), clip_by)
        return cls(states, int(steps.pop()), adam)

    def value(self, parameter: nn.Parameter) -> Tensor:
        """Returns the parameter."""
        return parameter.detach()

    def mean(self, parameter: Any) -> Tensor:
        """Returns the running mean of its gradients."""
        return self._states[parameter]["exp_avg"]

    def square(self, parameter: Any) -> Tensor:
        """Returns the running mean of their squares."""
        return self._states[parameter]["exp_avg_sq"]

    def in_use(self, network: Network) -> np.ndarray:
        """Returns bool [V]: the inputs of the first layer whose weights Adam still moves."""
        moving = [
            (average != 0).any(0)
            for layer in network.first_layers
            for average in (self.mean(layer.weight), self.square(layer.weight))
        ]
        return torch.stack(moving).any(0).numpy()

    def set_steps(self, steps: int) -> None:
        """Counts the steps that were made."""
        for state in self._states.values():
            state["step"].fill_(steps)


def _joined(tensors: Sequence[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Returns indices one after the other, and where each tensor's start and end [M + 1]."""
    lengths = [0, *(len(tensor) for tensor in tensors)]
    return torch.cat(list(tensors)).numpy(), np.cumsum(lengths)


def _loss_numbers(settings: LossSettings) -> _Loss:
    return _Loss(
        float(settings.clip_param),
        float(settings.vf_clip_param),
        float(settings.vf_loss_coeff),
        float(settings.entropy_coeff),
        settings.kl_coeff is not None,
        float(settings.kl_coeff or 0.0),
    )


def _flat(network: Network, columns: np.ndarray, of: Any) -> np.ndarray:
    """Returns tensors, one for each parameter, as the kernels' flat vector."""
    arrays = []
    for layer in network.layers:
        weight = of(layer.weight).numpy()
        used = weight[:, columns] if layer in network.first_layers else weight
        arrays += [used.T.ravel(), of(layer.bias).numpy()]
    return np.concatenate(arrays)


def _write_back(flat: np.ndarray, network: Network, columns: np.ndarray, of: Any) -> None:
    """Writes a flat vector into the tensors that `_flat` read."""
    starts = shape_of(network, len(columns)).starts
    pieces = [torch.from_numpy(piece) for piece in np.split(flat, starts[1:-1])]
    index = torch.from_numpy(columns)
    with torch.no_grad():
        for layer, weight, bias in zip(network.layers, pieces[::2], pieces[1::2], strict=True):
            used = weight.reshape(-1, layer.out_features).T
            if layer in network.first_layers:
                of(layer.weight).index_copy_(1, index, used)
            else:
                of(layer.weight).copy_(used)
            of(layer.bias).copy_(bias)
