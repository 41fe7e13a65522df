"""Running normalisation of value targets (PopArt)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: What the statistics of one update weigh when the next one comes: about 100 updates count.
DECAY = 0.99
#: The least deviation that is divided by: where all returns are the same, noise stays small.
SMALLEST_DEVIATION = 1e-2


class ValueNorm(nn.Module):
    """Mean and deviation of value targets, by which a critic's outputs are scaled.

    Its three numbers are buffers, so checkpoints hold them. `update` takes a batch of targets
    G_1..G_n, in which batches before it weigh `DECAY` times less for each batch since:

        w' = d w + 1,   mean' = mean + (m - mean) / w',   m and v those of the batch
        variance' = (d w variance + v) / w' + d w (m - mean)^2 / w'^2

    These are the weighted mean and variance of all targets so far, without the bias of a start
    at 0 and 1. The last layer is changed with them, so that no value estimate moves: with scale
    s = deviation / deviation', weight' = s weight and bias' = s bias + (mean - mean') / deviation'
    (PopArt: van Hasselt et al. 2016, arXiv:1602.07714, proposition 1).
    """

    weight: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("variance", torch.ones(()))

    @property
    def deviation(self) -> Tensor:
        """The standard deviation, a scalar."""
        return self.variance.sqrt().clamp(min=SMALLEST_DEVIATION)

    def normalize(self, values: Tensor) -> Tensor:
        """Returns values, in units of rewards, as the critic's output has them."""
        return (values - self.mean) / self.deviation

    def denormalize(self, outputs: Tensor) -> Tensor:
        """Returns the critic's outputs in units of rewards."""
        return outputs * self.deviation + self.mean

    @torch.no_grad()
    def update(self, targets: Tensor, head: nn.Linear) -> None:
        """Takes in a batch of value targets.

        Args:
            targets: float32 [n], in units of rewards.
            head: the critic's last layer, which keeps its denormalised outputs.
        """
        mean, deviation = self.mean.clone(), self.deviation
        kept = DECAY * self.weight
        weight = kept + 1
        step = targets.mean() - mean
        variance = (kept * self.variance + targets.var(correction=0)) / weight
        self.variance.copy_(variance + kept * (step / weight) ** 2)
        self.mean.copy_(mean + step / weight)
        self.weight.copy_(weight)
        scale = deviation / self.deviation
        head.weight.mul_(scale)
        head.bias.mul_(scale).add_((mean - self.mean) / self.deviation)
