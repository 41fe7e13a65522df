"""A network of one's own: an RLModule that learns what the things in a cell have in common.

python -m empo_rllib.tune --config examples/custom_rl_module.yaml
"""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, nn

KINDS = (11, 6, 4)  # types, colours and states of MultiGrid
DIRECTIONS = 4


class CellEmbeddings(TorchRLModule, ValueFunctionAPI):
    """Embeds the type, colour and state of each cell, and convolves over the view.

    Observations:
        Those of MultiGrid, as tensors: `image` uint8 [B, V, V, 3] and `direction` integer [B]. A
        policy that serves several agents also gets `agent_id`, which is not read here.
    Outputs:
        `action_dist_inputs`, float32 [B, A]: a logit for each action. PPO also asks for values,
        which is what `ValueFunctionAPI` is.
    Configuration:
        `model.kwargs` arrive in `model_config`, here `embedding_size` and `channels`, beside the
        sizes of `model`, here `hidden_sizes`.
    """

    def setup(self) -> None:
        size, channels = self.model_config["embedding_size"], self.model_config["channels"]
        view = self.observation_space["image"].shape[0]
        self.embeddings = nn.ModuleList(nn.Embedding(kinds, size) for kinds in KINDS)
        self.convolution = nn.Conv2d(size, channels, kernel_size=3)
        width = channels * (view - 2) ** 2 + DIRECTIONS
        layers: list[nn.Module] = []
        for hidden in self.model_config["hidden_sizes"]:
            layers += [nn.Linear(width, hidden), nn.Tanh()]
            width = hidden
        self.trunk = nn.Sequential(*layers)
        self.actor = nn.Linear(width, int(self.action_space.n))
        self.critic = nn.Linear(width, 1)
        nn.init.orthogonal_(self.actor.weight, 0.01)  # starts as a nearly uniform policy

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        return {Columns.ACTION_DIST_INPUTS: self.actor(self._features(batch))}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        features = self._features(batch)
        return {Columns.ACTION_DIST_INPUTS: self.actor(features), Columns.EMBEDDINGS: features}

    def compute_values(self, batch: dict[str, Any], embeddings: Tensor | None = None) -> Tensor:
        """Value estimates, float32 [B]; `embeddings` are those of `_forward_train`."""
        features = self._features(batch) if embeddings is None else embeddings
        return self.critic(features).squeeze(-1)

    def _features(self, batch: dict[str, Any]) -> Tensor:
        observation = batch[Columns.OBS]
        image = observation["image"].long()
        cells = sum(embed(image[..., i]) for i, embed in enumerate(self.embeddings))
        view = torch.relu(self.convolution(cells.permute(0, 3, 1, 2)))
        direction = nn.functional.one_hot(observation["direction"].long(), DIRECTIONS)
        return self.trunk(torch.cat([view.flatten(1), direction.float()], dim=1))
