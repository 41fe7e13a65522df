"""What a recurrent policy remembers between the steps of an episode.

Does what RLlib's `AddStatesFromEpisodesToBatch` and `RemoveSingleTsTimeRankFromBatch` do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tree
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.utils.numpy import convert_to_numpy
from ray.rllib.utils.spaces.space_utils import batch, unbatch
from ray.rllib.utils.torch_utils import convert_to_torch_tensor

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
    if Columns.STATE_OUT not in outputs:
        raise ConfigError(
            f"{type(module).__name__} has an initial state and must return "
            f"{Columns.STATE_OUT!r}; it returned {', '.join(outputs) or 'nothing'}."
        )
    after = unbatch(convert_to_numpy(outputs[Columns.STATE_OUT]))
    for memory, state in zip(memories, after, strict=True):
        memory.update(state)


def drop_time(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a recurrent network's outputs; what decides of [B, T = 1, ...] is [B, ...]."""
    decisive = outputs.keys() & {Columns.ACTIONS, Columns.ACTION_DIST_INPUTS}
    step = {key: tree.map_structure(lambda part: part[:, 0], outputs[key]) for key in decisive}
    return {**outputs, **step}
