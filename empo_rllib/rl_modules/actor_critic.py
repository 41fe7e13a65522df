"""The default RLModules: an actor and a critic over the encoders of this package."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchMultiCategorical
from ray.rllib.core.learner.utils import make_target_network
from ray.rllib.core.rl_module.apis import (
    TARGET_NETWORK_ACTION_DIST_INPUTS,
    TargetNetworkAPI,
    ValueFunctionAPI,
)
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, nn

from empo_rllib.envs.adapting import OF_ALL
from empo_rllib.envs.masks import ACTION_MASK, mask_of
from empo_rllib.rl_modules.encoders import (
    CentralEncoder,
    Encoder,
    WithHiddenLayers,
    build_encoder,
)
from empo_rllib.rl_modules.value_norm import ValueNorm

#: The logit of an action that a mask forbids: its probability is exactly 0, and its part of entropy
#: and KL divergence finite, where that of minus infinity is not a number.
FORBIDDEN = torch.finfo(torch.float32).min


class ActorCritic(TorchRLModule, ValueFunctionAPI):
    """Actor and critic for any observation space; meets RLlib's `ValueFunctionAPI`.

    `model_config` holds the sizes of `model` in the experiment file: `hidden_sizes`,
    `conv_filters` and `shared_trunk`. With a shared trunk the two heads read the same
    features; otherwise the critic has an encoder of its own. Two more keys may be there:
    `critic_space`, of what the critic reads where it sees more than its actor, and `value_norm`:
    its outputs are scaled by a `ValueNorm`.

    Outputs: `action_dist_inputs` float32 [B, K], where K is the number of actions (Discrete),
    their sum (MultiDiscrete) or twice the dimension (Box: mean and log standard deviation). Where
    the observation has an `action_mask`, logits of what it forbids are `FORBIDDEN`: all that is
    made of them (samples, log-probabilities, entropy, KL) is of the masked distribution. The
    networks read the mask, too.
    """

    #: How the names of the critic's weights start: acting does without them. So do those of what
    #: it remembers.
    CRITIC = ("critic_encoder.", "critic_memory.", "critic.", "value_norm.")

    def setup(self) -> None:
        sizes = self.model_config
        widths = sizes["hidden_sizes"], sizes["conv_filters"]
        central = sizes.get("critic_space")
        self.critic_sees_more = central is not None
        self.masks_actions = mask_of(self.observation_space) is not None
        self.encoder = build_encoder(self.observation_space, *widths)
        self.critic_encoder: Encoder | None = None
        if central is not None:
            build = CentralEncoder if OF_ALL in central.spaces else build_encoder
            self.critic_encoder = build(central, *widths)
        elif not sizes["shared_trunk"]:
            self.critic_encoder = build_encoder(self.observation_space, *widths)
        actor_width, critic_width = self._build_middle()
        self.actor = nn.Linear(actor_width, self._num_action_inputs())
        self.critic = nn.Linear(critic_width, 1)
        self.value_norm = ValueNorm() if sizes.get("value_norm") else None
        # A nearly uniform first policy: Andrychowicz et al. 2021, "What matters in on-policy
        # reinforcement learning", section 3.2.
        nn.init.orthogonal_(self.actor.weight, 0.01)
        nn.init.zeros_(self.actor.bias)

    def _build_middle(self) -> tuple[int, int]:
        """Builds what is between encoders and heads; returns how much each head reads.

        Here there is nothing.
        """
        of_critic = self.critic_encoder or self.encoder
        return self.encoder.num_features, of_critic.num_features

    def _num_action_inputs(self) -> int:
        space = self.action_space
        if isinstance(space, gym.spaces.Discrete):
            return int(space.n)
        if isinstance(space, gym.spaces.MultiDiscrete):
            sizes = space.nvec.flatten().tolist()
            self.action_dist_cls = TorchMultiCategorical.get_partial_dist_cls(input_lens=sizes)
            return sum(sizes)
        if isinstance(space, gym.spaces.Box):
            return 2 * gym.spaces.flatdim(space)
        raise ValueError(
            f"action space {space} is not supported by the default model: "
            "give a class of your own in model.class"
        )

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        features = self.encoder(batch[Columns.OBS])
        return {Columns.ACTION_DIST_INPUTS: self._logits(self.actor, features, batch)}

    def _logits(self, actor: nn.Module, features: Tensor, batch: dict[str, Any]) -> Tensor:
        logits: Tensor = actor(features)
        if not self.masks_actions:
            return logits
        return torch.where(batch[Columns.OBS][ACTION_MASK].bool(), logits, FORBIDDEN)

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        if self.critic_sees_more:  # and is asked apart
            return self._forward(batch)
        features, embeddings = self._features(batch[Columns.OBS])
        logits = self._logits(self.actor, features, batch)
        return {Columns.ACTION_DIST_INPUTS: logits, Columns.EMBEDDINGS: embeddings}

    def _features(self, observations: Any) -> tuple[Tensor, Tensor]:
        """Returns the actor's features and the critic's, which read the same."""
        vector = self.encoder.vector(observations)
        features = self.encoder.hidden(vector)
        if not isinstance(self.critic_encoder, WithHiddenLayers):
            return features, features
        if self.critic_encoder.learns_vector:
            vector = self.critic_encoder.vector(observations)
        return features, self.critic_encoder.hidden(vector)

    def compute_values(self, batch: dict[str, Any], embeddings: Tensor | None = None) -> Tensor:
        """Value estimates in units of rewards, float32 [B].

        Args:
            batch: its `obs` are what the critic reads: as `critic_space` says where there is one.
            embeddings: those that `_forward_train` has returned, if any.
        """
        if embeddings is None:
            encoder = self.critic_encoder if self.critic_encoder is not None else self.encoder
            embeddings = encoder(batch[Columns.OBS])
        values = self.critic(embeddings).squeeze(-1)
        return values if self.value_norm is None else self.value_norm.denormalize(values)


class ActorCriticWithTarget(ActorCritic, TargetNetworkAPI):
    """`ActorCritic` with the target policy that APPO's surrogate loss compares with."""

    def make_target_networks(self) -> None:
        self._target_encoder = make_target_network(self.encoder)
        self._target_actor = make_target_network(self.actor)

    def get_target_network_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        return [(self.encoder, self._target_encoder), (self.actor, self._target_actor)]

    def forward_target(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        with torch.no_grad():
            features = self._target_encoder(batch[Columns.OBS])
            inputs = self._logits(self._target_actor, features, batch)
        return {TARGET_NETWORK_ACTION_DIST_INPUTS: inputs}
