"""Clipping gradients, as RLlib's `clip_gradients` does it (Ray 2.60), without its overhead."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def clip_gradients(
    parameters: Sequence[nn.Parameter], norm: Tensor, grad_clip: float | None, grad_clip_by: str
) -> None:
    """Clips the gradients of `parameters` in place; all of them must be finite.

    Args:
        parameters: of one optimiser, those that have a gradient.
        norm: the norm of all their gradients together.
        grad_clip: the bound; None or 0: no clipping.
        grad_clip_by: `value` bounds each number, `norm` the norm of each gradient, `global_norm`
            the norm of all together.
    """
    if not grad_clip:
        return
    if grad_clip_by == "value":
        nn.utils.clip_grad_value_(parameters, grad_clip)
    elif grad_clip_by == "norm":
        for parameter in parameters:
            nn.utils.clip_grad_norm_(parameter, grad_clip)
    else:
        nn.utils.clip_grads_with_norm_(parameters, grad_clip, norm)


def global_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Returns the norm of all gradients together, a scalar; not finite where one of them is not."""
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
