"""The network of `multigrid`'s repository as a user of this package would write it.

Three 3x3 convolutions of 16, 32 and 64 channels without padding, which take a 7x7 view to one
cell, then a hidden layer of 64; actor and critic share nothing. Input: one-hot cells (21 channels)
and the direction as cosine and sine in every cell (2 channels), as in `scripts/train.py` of
github.com/ini/multigrid.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, nn

CHANNELS = (16, 32, 64)
HIDDEN = 64


class UpstreamCNN(TorchRLModule, ValueFunctionAPI):
    """Actor and critic for a 7x7 MultiGrid view, each with convolutions of its own."""

    def setup(self) -> None:
        image, direction = self.observation_space["image"], self.observation_space["direction"]
        self.sizes = [int(top) + 1 for top in image.high.reshape(-1, image.shape[-1])[0]]
        self.num_directions = int(direction.n)
        depth = sum(self.sizes) + 2
        self.actor = _tower(depth, int(self.action_space.n))
        self.critic = _tower(depth, 1)

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        return {Columns.ACTION_DIST_INPUTS: self.actor(self._encode(batch[Columns.OBS]))}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        cells = self._encode(batch[Columns.OBS])
        return {
            Columns.ACTION_DIST_INPUTS: self.actor(cells),
            Columns.EMBEDDINGS: self.critic(cells),
        }

    def compute_values(self, batch: dict[str, Any], embeddings: Tensor | None = None) -> Tensor:
        """Value estimates, float32 [B]; `embeddings` are those of `_forward_train`."""
        if embeddings is None:
            embeddings = self.critic(self._encode(batch[Columns.OBS]))
        return embeddings.squeeze(-1)

    def _encode(self, observation: dict[str, Tensor]) -> Tensor:
        """One-hot cells and the direction, float32 [B, channels, 7, 7]."""
        image = observation["image"].long()
        angle = 2 * math.pi / self.num_directions * observation["direction"].float()
        facing = torch.stack([angle.cos(), angle.sin()], dim=-1)
        planes = [
            nn.functional.one_hot(image[..., i], size).float() for i, size in enumerate(self.sizes)
        ]
        planes.append(facing[:, None, None, :].expand(*image.shape[:3], 2))
        return torch.cat(planes, dim=-1).permute(0, 3, 1, 2)


def _tower(depth: int, num_outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in CHANNELS:
        layers += [nn.Conv2d(depth, channels, 3), nn.ReLU()]
        depth = channels
    layers += [nn.Flatten(), nn.Linear(depth, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, num_outputs)]
    return nn.Sequential(*layers)
