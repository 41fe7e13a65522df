"""What a recurrent policy remembers between the steps of an episode.

Does what RLlib's `AddStatesFromEpisodesToBatch` and `RemoveSingleTsTimeRankFromBatch` do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import tree
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.utils.numpy import convert_to_numpy
from ray.rllib.utils.spaces.space_utils import batch, unbatch
from ray.rllib.utils.torch_utils import convert_to_torch_tensor
from torch import Tensor

from empo_rllib.errors import ConfigError

#: What is remembered of one agent's episode: its state, empty before the first step.
Memory = dict[str, Any]


def step_inputs(module: RLModule, observations: Any, memories: Sequence[Memory]) -> dict[str, Any]:
    """Returns what a network reads for one step of each of B episodes.

    Args:
        module: The network. A recurrent one reads sequences [B, T = 1, ...] and a state [B, ...].
        observations: Arrays [B, ...], nested as the policy's observation space is.
        memories: B of them, for a recurrent network; an empty one is its initial state.
    """
    if not module.is_stateful():
        return {Columns.OBS: convert_to_torch_tensor(observations)}
    states = [memory or convert_to_numpy(module.get_initial_state()) for memory in memories]
    sequences = tree.map_structure(lambda part: part[:, None], observations)
    return convert_to_torch_tensor({Columns.OBS: sequences, Columns.STATE_IN: batch(states)})


def keep_state(module: RLModule, outputs: Mapping[str, Any], memories: Sequence[Memory]) -> None:
    """Puts the state that a recurrent network returned into the memories of its B episodes.

    Raises:
        ConfigError: it returned none.
    """
    after = unbatch(convert_to_numpy(_state_out(module, outputs)))
    for memory, state in zip(memories, after, strict=True):
        memory.update(state)


def _state_out(module: RLModule, outputs: Mapping[str, Any]) -> Any:
    if Columns.STATE_OUT not in outputs:
        raise ConfigError(
            f"{type(module).__name__} has an initial state and must return "
            f"{Columns.STATE_OUT!r}; it returned {', '.join(outputs) or 'nothing'}."
        )
    return outputs[Columns.STATE_OUT]


def drop_time(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a recurrent network's outputs; what decides of [B, T = 1, ...] is [B, ...]."""
    all_decisive = {Columns.ACTIONS, Columns.ACTION_DIST_INPUTS, Columns.ACTION_LOGP}
    decisive = outputs.keys() & all_decisive
    step = {key: tree.map_structure(lambda part: part[:, 0], outputs[key]) for key in decisive}
    return {**outputs, **step}


class BatchMemory:
    """What a recurrent policy remembers in B rows, each of which is an agent of an env.

    Args:
        module: the network.
        num_rows: B.
        device: that of the network.

    Attributes:
        state: tensors [B, ...], nested as the network's state is: before the step.
        after: the same after it, for rows in which the agent acts.
    """

    def __init__(self, module: RLModule, num_rows: int, device: torch.device) -> None:
        self._module = module
        self._initial = tree.map_structure(
            lambda part: torch.as_tensor(part, device=device).expand(num_rows, *part.shape),
            module.get_initial_state(),
        )
        self.restart()

    def restart(self) -> None:
        """Forgets everything: new episodes begin in all rows."""
        self.state = self.after = self._initial

    def inputs(self, observations: Any) -> dict[str, Any]:
        """Returns what the network reads for one step, of tensors [B, ...] nested in any way."""
        sequences = tree.map_structure(lambda part: part.unsqueeze(1), observations)
        return {Columns.OBS: sequences, Columns.STATE_IN: self.state}

    def keep(self, outputs: Mapping[str, Any]) -> None:
        """Takes the state out of the network's outputs.

        Raises:
            ConfigError: there is none.
        """
        self.after = _state_out(self._module, outputs)

    def advance(self, acted: Tensor, ended: Tensor) -> None:
        """Goes on to the next step.

        Args:
            acted: bool [B]: rows of which the agent acted; the others remember what they did.
            ended: bool [B]: rows whose agent or episode ended, which forget everything.
        """

        def chosen(initial: Tensor, before: Tensor, after: Tensor) -> Tensor:
            shape = (-1, *[1] * (before.ndim - 1))
            kept = torch.where(acted.reshape(shape), after, before)
            return torch.where(ended.reshape(shape), initial, kept)

        self.state = tree.map_structure(chosen, self._initial, self.state, self.after)
