"""The default network with a memory: `model.memory`."""

from __future__ import annotations

from typing import Any

import torch
import tree
from ray.rllib.core.columns import Columns
from torch import Tensor, nn

from empo_rllib.rl_modules.actor_critic import ActorCritic

State = dict[str, Tensor]


class Memory(nn.Module):
    """A GRU or an LSTM over sequences.

    GRU: Cho et al. 2014, arXiv:1406.1078; LSTM: Hochreiter and Schmidhuber 1997; both as torch has
    them. Weights start orthogonal and biases at 0.

    Args:
        kind: `gru` or `lstm`.
        num_features: F, of what it reads.
        size: M, of what it remembers and returns.
    """

    def __init__(self, kind: str, num_features: int, size: int) -> None:
        super().__init__()
        cell = {"gru": nn.GRU, "lstm": nn.LSTM}[kind]
        self.cell: nn.GRU | nn.LSTM = cell(num_features, size, batch_first=True)
        self.parts = {"gru": ("h",), "lstm": ("h", "c")}[kind]
        for name, parameter in self.cell.named_parameters():
            initialize = nn.init.zeros_ if name.startswith("bias") else nn.init.orthogonal_
            initialize(parameter)

    def initial_state(self) -> State:
        """Returns zeros [M] by name."""
        return {part: torch.zeros(self.cell.hidden_size) for part in self.parts}

    def forward(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Returns what it makes of sequences, [S, T, M], and the state [S, M] after them.

        Args:
            features: [S, T, F].
            state: before the first step, [S, M] by name.
        """
        before = [state[part].unsqueeze(0) for part in self.parts]
        outputs, after = self.cell(features, before[0] if len(before) == 1 else tuple(before))
        parts = [after] if len(before) == 1 else after
        return outputs, {
            name: part.squeeze(0) for name, part in zip(self.parts, parts, strict=True)
        }


class RecurrentActorCritic(ActorCritic):
    """`ActorCritic` with a memory before each head; one for both where the trunk is shared.

    `model_config` also has `memory` (`gru` or `lstm`), `memory_size` and, for RLlib's own learner,
    `max_seq_len`. As RLlib wants it, observations are sequences [S, T, ...], and what is made of
    them is [S, T, ...]; `state_in` holds the state [S, M] before the first step of each. What a
    critic reads that sees more than its actor is flat, [S * T], sequence after sequence.

    The state has the critic's part, too: where learning begins a sequence, the critic continues
    with what it remembered there in sampling. `forward_inference` leaves that part as it is.
    """

    def _build_middle(self) -> tuple[int, int]:
        kind, size = self.model_config["memory"], self.model_config["memory_size"]
        self.memory = Memory(kind, self.encoder.num_features, size)
        self.critic_memory: Memory | None = None
        if self.critic_encoder is not None:
            self.critic_memory = Memory(kind, self.critic_encoder.num_features, size)
        return size, size

    def get_initial_state(self) -> State:
        """Returns zeros [M] by name."""
        memories = {"memory": self.memory, "critic_memory": self.critic_memory}
        return {
            f"{name}.{part}": zeros
            for name, memory in memories.items()
            if memory is not None
            for part, zeros in memory.initial_state().items()
        }

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        features, state = self._remember("memory", self.encoder(_steps(batch)), batch)
        logits = self._logits(self.actor, features, batch)
        state_out = {**batch[Columns.STATE_IN], **state}
        return {Columns.ACTION_DIST_INPUTS: logits, Columns.STATE_OUT: state_out}

    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        if self.critic_memory is None or self.critic_sees_more:
            return self._forward(batch)
        of_actor, of_critic = self._features(_steps(batch))
        features, state = self._remember("memory", of_actor, batch)
        _, critic_state = self._remember("critic_memory", of_critic, batch)
        logits = self._logits(self.actor, features, batch)
        return {Columns.ACTION_DIST_INPUTS: logits, Columns.STATE_OUT: {**state, **critic_state}}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        if self.critic_sees_more:  # and is asked apart
            return self._forward(batch)
        of_actor, of_critic = self._features(_steps(batch))
        features, _ = self._remember("memory", of_actor, batch)
        embeddings = features
        if self.critic_memory is not None:
            embeddings, _ = self._remember("critic_memory", of_critic, batch)
        logits = self._logits(self.actor, features, batch)
        return {Columns.ACTION_DIST_INPUTS: logits, Columns.EMBEDDINGS: embeddings}

    def compute_values(self, batch: dict[str, Any], embeddings: Tensor | None = None) -> Tensor:
        """Value estimates in units of rewards, float32 [S, T]; see `ActorCritic`."""
        if embeddings is None:
            embeddings, _ = self._of_critic(batch)
        return super().compute_values(batch, embeddings)

    def critic_state(self, batch: dict[str, Any]) -> State:
        """Returns what a critic that sees more than its actor remembers after sequences.

        Args:
            batch: as in `compute_values`.
        """
        return self._of_critic(batch)[1]

    def _of_critic(self, batch: dict[str, Any]) -> tuple[Tensor, State]:
        """Returns what the critic's head reads, [S, T, M], and the critic's state after that."""
        steps = batch[Columns.OBS] if self.critic_sees_more else _steps(batch)
        if self.critic_encoder is None:
            return self._remember("memory", self.encoder(steps), batch)
        return self._remember("critic_memory", self.critic_encoder(steps), batch)

    def _remember(self, name: str, features: Tensor, batch: dict[str, Any]) -> tuple[Tensor, State]:
        """Runs one of the memories over features [S * T, F]; its state has the name before it."""
        memory: Memory = getattr(self, name)
        state = {part: batch[Columns.STATE_IN][f"{name}.{part}"] for part in memory.parts}
        num_sequences = state[memory.parts[0]].shape[0]
        outputs, after = memory(features.unflatten(0, (num_sequences, -1)), state)
        return outputs, {f"{name}.{part}": tensor for part, tensor in after.items()}


def _steps(batch: dict[str, Any]) -> Any:
    """Returns observations [S, T, ...] as [S * T, ...]."""
    return tree.map_structure(lambda leaf: leaf.flatten(0, 1), batch[Columns.OBS])
