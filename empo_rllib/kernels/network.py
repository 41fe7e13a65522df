"""What the kernels know of a network: read off the RLModule, which stays the only definition.

`describe` walks through an `ActorCritic` and gives its layers and how its first layer reads an
observation, or the reason why the kernels cannot run it. All that it gives are the RLModule's own
parameters and the numbers of its encoders.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
from torch import nn

from empo_rllib.envs.masks import ACTION_MASK
from empo_rllib.rl_modules.actor_critic import ActorCritic
from empo_rllib.rl_modules.encoders import (
    Concatenation,
    FlatBox,
    GridOfCategories,
    OneHot,
    WithHiddenLayers,
)

# Tables have an entry for each content that a cell may have.
_MAX_CONTENTS_OF_CELL = 4096
_MAX_CONTENTS = 1_000_000
_PARTS = {"encoder", "critic_encoder", "actor", "critic"}


@dataclass(frozen=True)
class Part:
    """A leaf of an observation, and the entries that it has in the vector of the first layer.

    Attributes:
        path: the keys that lead to it.
        columns: of the vector; for categories the column of the lowest value, one for each position
            [P]; for numbers one for each [F].
        sizes: for categories how many values each position [P] takes; empty for numbers.
        low: the lowest value of each position [P].
        cell_size: how many positions in a row make up one cell.
        scale: of numbers.
    """

    path: tuple[Any, ...]
    columns: tuple[int, ...]
    sizes: tuple[int, ...] = ()
    low: tuple[int, ...] = ()
    cell_size: int = 1
    scale: float = 1.0

    @property
    def cells(self) -> np.ndarray:
        """How many values each position of each cell takes, int64 [cells, cell_size]."""
        return np.array(self.sizes, np.int64).reshape(-1, self.cell_size)


@dataclass(frozen=True)
class Network:
    """An actor and a critic: streams of fully connected layers with ReLU, and a head each.

    Attributes:
        parts: of the observation.
        streams: one that both heads share, or the actor's and the critic's.
        actor: the head of the actor, on the first stream.
        critic: the head of the critic, on the last stream.
        action_sizes: how many actions each dimension of the action space has.
        mask: where the numbers that forbid actions start, among all numbers of the observation; -1:
            there is no mask.
    """

    parts: tuple[Part, ...]
    streams: tuple[tuple[nn.Linear, ...], ...]
    actor: nn.Linear
    critic: nn.Linear
    action_sizes: tuple[int, ...]
    mask: int = -1

    @cached_property
    def widths(self) -> np.ndarray:
        """Sizes of a stream's hidden layers, int64 [L]."""
        return np.array([layer.out_features for layer in self.streams[0]], np.int64)

    @cached_property
    def layers(self) -> tuple[nn.Linear, ...]:
        """All layers in the order of the kernels: stream after stream, actor, critic."""
        return (*itertools.chain(*self.streams), self.actor, self.critic)

    @cached_property
    def first_layers(self) -> tuple[nn.Linear, ...]:
        """Those that read the observation."""
        return tuple(stream[0] for stream in self.streams)

    @property
    def parameters(self) -> list[Any]:
        """Weight and bias of each layer."""
        return [p for layer in self.layers for p in (layer.weight, layer.bias)]


def describe(module: Any) -> Network | str:
    """Returns the network of an RLModule, or one phrase that says why kernels do not run it."""
    if type(module) is not ActorCritic:
        return f"{type(module).__name__} is not the package's own network"
    if module.critic_sees_more:
        return "the critic reads more than the actor"
    others = dict(module.named_children()).keys() - _PARTS
    if others:
        return f"the network has {', '.join(sorted(others))} beside its actor and critic"
    space = module.action_space
    if not isinstance(space, gym.spaces.Discrete | gym.spaces.MultiDiscrete):
        return f"actions are a {type(space).__name__}"
    both = module.encoder, module.critic_encoder
    encoders = [encoder for encoder in both if isinstance(encoder, WithHiddenLayers)]
    parts, of_critic = (_parts(encoder.layers[0]) for encoder in (encoders[0], encoders[-1]))
    if isinstance(parts, str):
        return parts
    if parts != of_critic:
        return "actor and critic read different observations"
    streams = [_stream(encoder) for encoder in encoders]
    if not all(streams) or len({tuple(layer.out_features for layer in s) for s in streams}) > 1:
        return "the hidden layers are not those of the default network"
    sizes = [space.n] if isinstance(space, gym.spaces.Discrete) else space.nvec.flatten()
    action_sizes = tuple(int(size) for size in sizes)
    mask = _place_of_mask(parts) if module.masks_actions else -1
    if mask is None:
        return "the action_mask is read as categories"
    heads = module.actor, module.critic
    network = Network(tuple(parts), tuple(streams), *heads, action_sizes, mask)
    return _why_not_plain(module, network) or network


def _place_of_mask(parts: list[Part]) -> int | None:
    """Returns where the mask starts among the numbers; None where it is none of them."""
    numbers = [part for part in parts if not part.sizes]
    for number, part in enumerate(numbers):
        if part.path == (ACTION_MASK,):
            return sum(len(before.columns) for before in numbers[:number])
    return None


def _why_not_plain(module: nn.Module, network: Network) -> str | None:
    parameters = list(module.parameters())
    if {id(p) for p in parameters} != {id(p) for p in network.parameters}:
        return "the network has other parameters than its layers"
    if any(p.device.type != "cpu" for p in parameters):
        return "the network is on a GPU"
    if not all(p.requires_grad for p in parameters):
        return "some parameters are frozen"
    hooks = [part for part in module.modules() if part._forward_hooks or part._forward_pre_hooks]
    if hooks or any(p._backward_hooks for p in parameters):
        return "the network has hooks"
    return None


def _stream(encoder: WithHiddenLayers) -> tuple[nn.Linear, ...]:
    """Returns its layers; none where they are not pairs of a linear layer and a ReLU."""
    layers = list(encoder.layers)[1:]
    linear, activations = layers[::2], layers[1::2]
    plain = len(linear) == len(activations) and all(type(a) is nn.ReLU for a in activations)
    if not plain or not all(type(layer) is nn.Linear for layer in linear):
        return ()
    return tuple(layer for layer in linear if isinstance(layer, nn.Linear))


def _parts(vector: nn.Module) -> list[Part] | str:
    """Returns what the first layer reads, or why kernels cannot."""
    parts: list[Part] = []
    for path, start, encoder in _leaves(vector, (), 0):
        if type(encoder) is FlatBox:
            columns = tuple(range(start, start + encoder.num_features))
            parts.append(Part(path, columns, scale=encoder.scale))
        elif type(encoder) in (GridOfCategories, OneHot):
            parts.append(_categories(path, start, encoder))
        else:
            return f"observations go through {type(encoder).__name__}"
    contents = sum(int(np.prod(part.cells, axis=1).sum()) for part in parts)
    if contents > _MAX_CONTENTS:
        return f"cells of an observation may have {contents:,} contents"
    return parts


def _categories(path: tuple[Any, ...], start: int, encoder: Any) -> Part:
    if isinstance(encoder, GridOfCategories):
        channels = encoder.channel_sizes
        cells = len(encoder.offset) // len(channels)
        sizes, low, cell_size = channels * cells, (0,) * len(encoder.offset), len(channels)
        if np.prod(channels) > _MAX_CONTENTS_OF_CELL:
            cell_size = 1
    else:
        sizes, low, cell_size = encoder.sizes, encoder.start, 1
    columns = np.asarray(encoder.offset) + np.array(low) + start
    return Part(path, tuple(columns.tolist()), tuple(sizes), tuple(low), cell_size)


def _leaves(encoder: Any, path: tuple, start: int) -> Iterator[tuple[tuple, int, Any]]:
    """Yields the path, the first column and the encoder of each leaf of an observation."""
    if type(encoder) is not Concatenation:
        yield path, start, encoder
        return
    for key, part, size in zip(encoder.keys, encoder.parts, encoder.sizes, strict=True):
        yield from _leaves(part, (*path, key), start)
        start += size
