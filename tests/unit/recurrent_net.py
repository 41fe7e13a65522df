"""A recurrent network, as RLlib wants it, for any observations."""

from __future__ import annotations

import torch
import tree
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule

from empo_rllib.rl_modules.encoders import build_encoder

SIZE = 8


class Recurrent(TorchRLModule, ValueFunctionAPI):
    """An encoder, a GRU over sequences [B, T, ...], and two heads."""

    def setup(self):
        self.encoder = build_encoder(self.observation_space, [16], None)
        self.gru = torch.nn.GRU(self.encoder.num_features, SIZE, batch_first=True)
        self.actor = torch.nn.Linear(SIZE, int(self.action_space.n))
        self.critic = torch.nn.Linear(SIZE, 1)

    def get_initial_state(self):
        return {"h": torch.zeros(SIZE)}

    def _forward(self, batch, **kwargs):
        features, state = self._features(batch)
        return {Columns.ACTION_DIST_INPUTS: self.actor(features), Columns.STATE_OUT: {"h": state}}

    def compute_values(self, batch, embeddings=None):
        return self.critic(self._features(batch)[0]).squeeze(-1)

    def _features(self, batch):
        sequences = tree.flatten(batch[Columns.OBS])[0]
        steps = tree.map_structure(lambda part: part.flatten(0, 1), batch[Columns.OBS])
        encoded = self.encoder(steps).unflatten(0, sequences.shape[:2])
        features, state = self.gru(encoded, batch[Columns.STATE_IN]["h"].unsqueeze(0))
        return features, state.squeeze(0)
