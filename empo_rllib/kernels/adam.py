"""Clipping and Adam over one flat vector of parameters, as torch and RLlib compute them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from empo_rllib.kernels.layers import compiled_loop

#: How gradients are clipped, as `grad_clip_by` names it.
CLIPPING = {"none": 0, "value": 1, "norm": 2, "global_norm": 3}


class Adam(NamedTuple):
    """The settings of Adam (Kingma and Ba 2015) and of clipping.

    Attributes:
        lr, beta1, beta2, eps: those of `torch.optim.Adam`.
        clip: the bound of gradients.
        clip_by: one of `CLIPPING`.
    """

    lr: float
    beta1: float
    beta2: float
    eps: float
    clip: float
    clip_by: int


@compiled_loop
def total_norm(gradients: np.ndarray) -> float:
    """Returns the norm of all gradients; not finite where one of them is not."""
    return math.sqrt(np.dot(gradients, gradients))


@compiled_loop
def clip_in_place(gradients: np.ndarray, starts: np.ndarray, norm: float, adam: Adam) -> None:
    """Clips gradients as `empo_rllib.learning.gradients.clip_gradients` does.

    Args:
        gradients: of all tensors, flat.
        starts: where each tensor starts, and the end.
        norm: of all together.
        adam: what says how.
    """
    if adam.clip_by == 1:
        for i in range(len(gradients)):
            gradients[i] = min(max(gradients[i], -adam.clip), adam.clip)
    elif adam.clip_by == 2:
        for tensor in range(len(starts) - 1):
            part = gradients[starts[tensor] : starts[tensor + 1]]
            scale(part, adam.clip / (total_norm(part) + 1e-6))
    elif adam.clip_by == 3:
        scale(gradients, adam.clip / (norm + 1e-6))


@compiled_loop
def scale(gradients: np.ndarray, by: float) -> None:
    """Multiplies gradients in place, by 1 at most."""
    if by < 1.0:
        gradients *= gradients.dtype.type(by)


@compiled_loop
def adam_step(
    parameters: np.ndarray,
    gradients: np.ndarray,
    mean: np.ndarray,
    square: np.ndarray,
    step: float,
    adam: Adam,
) -> None:
    """Makes one step of Adam.

    Args:
        parameters: flat.
        gradients: flat.
        mean: torch's `exp_avg`.
        square: torch's `exp_avg_sq`.
        step: which one it is, from 1 on.
        adam: the settings.
    """
    number = parameters.dtype.type
    beta1, beta2 = number(adam.beta1), number(adam.beta2)
    rest1, rest2 = number(1.0 - adam.beta1), number(1.0 - adam.beta2)
    size = number(adam.lr / (1.0 - adam.beta1**step))
    root = number(math.sqrt(1.0 - adam.beta2**step))
    eps = number(adam.eps)
    for i in range(len(parameters)):
        slope = gradients[i]
        mean[i] = beta1 * mean[i] + rest1 * slope
        square[i] = beta2 * square[i] + rest2 * slope * slope
        parameters[i] -= size * mean[i] / (np.sqrt(square[i]) / root + eps)
