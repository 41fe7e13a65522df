"""Any observation space to one feature vector, in plain torch.

`build_encoder` walks the space once and returns a module whose `forward` takes the batched
observation (nested as the space is, leading dimension B) and returns float32 features [B, F].
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, cast

import gymnasium as gym
import torch
from torch import Tensor, nn

from empo_rllib.envs.adapting import OF_ALL, POSITION
from empo_rllib.envs.encoding import grid_channels

# Images with a shorter side are cheaper, and learn as well, as flat vectors.
SMALLEST_CNN_IMAGE = 10

ConvFilters = Sequence[Sequence[int]]
"""`[channels, kernel, stride]` of each convolution."""

DEFAULT_CONV_FILTERS: ConvFilters = ((16, 3, 2), (32, 3, 2), (32, 3, 2))


class Encoder(nn.Module):
    """A module from a batched observation to float32 features [B, num_features]."""

    num_features: int

    def write(self, observation: Any, features: Tensor) -> None:
        """Puts what `forward` returns into `features`, which holds zeros."""
        features.copy_(self(observation))


class WithHiddenLayers(Encoder):
    """An encoder followed by fully connected layers, each with a ReLU."""

    def __init__(self, vector: Encoder, hidden_sizes: Sequence[int]) -> None:
        super().__init__()
        widths = [vector.num_features, *hidden_sizes]
        layers: list[nn.Module] = [vector]
        for width, size in itertools.pairwise(widths):
            layers += [nn.Linear(width, size), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.num_features = widths[-1]
        #: Whether the vector is learned too (convolutions), or only a way to write observations.
        self.learns_vector = any(True for _ in vector.parameters())

    def vector(self, observation: Any) -> Tensor:
        """Returns what the fully connected layers read, float32 [B, V]."""
        vector: Tensor = self.layers[0](observation)
        return vector

    def hidden(self, vector: Tensor) -> Tensor:
        """Returns the features of what `vector` returned."""
        for layer in itertools.islice(self.layers, 1, None):
            vector = layer(vector)
        return vector

    def forward(self, observation: Any) -> Tensor:
        return self.hidden(self.vector(observation))


class GridOfCategories(Encoder):
    """One-hot of each channel of each cell: uint8 [B, H, W, C] to float32 [B, H * W * S].

    S is the sum of the channels' sizes; for MultiGrid 21: type (11), colour (6), state (4).
    """

    def __init__(self, cells: int, channel_sizes: Sequence[int]) -> None:
        super().__init__()
        self.channel_sizes = tuple(channel_sizes)
        sizes = torch.tensor(channel_sizes)
        depth = int(sizes.sum())
        first = torch.cumsum(sizes, 0) - sizes
        offset = torch.arange(cells).unsqueeze(1) * depth + first
        self.num_features = cells * depth
        self.offset: Tensor
        self.register_buffer("offset", offset.flatten(), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        one_hot = torch.zeros(image.shape[0], self.num_features, device=image.device)
        self.write(image, one_hot)
        return one_hot

    def write(self, observation: Tensor, features: Tensor) -> None:
        features.scatter_(1, observation.flatten(1).long() + self.offset, 1.0)


class ImageCNN(Encoder):
    """Convolutions with padding kernel // 2, each with a ReLU: [B, H, W, C] to [B, F].

    uint8 pixels are scaled to [0, 1]. Pictures may be [B, C, H, W]; see `has_channels_first`.
    """

    def __init__(self, space: gym.spaces.Box, filters: ConvFilters) -> None:
        super().__init__()
        self.channels_first = has_channels_first(space.shape)
        depth = space.shape[0 if self.channels_first else -1]
        self.scale = 1 / 255 if space.dtype == "uint8" else 1.0
        layers: list[nn.Module] = []
        for channels, kernel, stride in filters:
            layers += [nn.Conv2d(depth, channels, kernel, stride, padding=kernel // 2), nn.ReLU()]
            depth = channels
        self.layers = nn.Sequential(*layers, nn.Flatten())
        with torch.no_grad():
            self.num_features = self.forward(torch.zeros(1, *space.shape)).shape[-1]

    def forward(self, image: Tensor) -> Tensor:
        planes = image if self.channels_first else image.permute(0, 3, 1, 2)
        features: Tensor = self.layers(planes.float() * self.scale)
        return features


def is_picture(shape: Sequence[int]) -> bool:
    """Tells whether an observation of this shape goes through convolutions."""
    if len(shape) != 3:
        return False
    sides = shape[1:] if has_channels_first(shape) else shape[:2]
    return min(sides) >= SMALLEST_CNN_IMAGE


def has_channels_first(shape: Sequence[int]) -> bool:
    """Tells whether a picture of three dimensions is (channels, height, width).

    So is one with fewer of the first than of the others, where these are equal or the first are no
    more than four: (3, 64, 96) and (16, 84, 84), but not (84, 84, 3) and (20, 20, 64).
    """
    first, height, width = shape
    return first < min(height, width) and (first <= 4 or height == width)


class FlatBox(Encoder):
    """Flattens a Box; bytes are scaled to [0, 1], as in `empo_rllib.envs.encoding`."""

    def __init__(self, space: gym.spaces.Box) -> None:
        super().__init__()
        are_bytes = space.dtype == "uint8" and bool((space.high == 255).any())
        self.scale = 1 / 255 if are_bytes else 1.0
        self.num_features = gym.spaces.flatdim(space)

    def forward(self, values: Tensor) -> Tensor:
        return values.reshape(values.shape[0], -1).float() * self.scale


class OneHot(Encoder):
    """One-hot of Discrete or MultiDiscrete values: [B] or [B, D] to [B, sum of sizes]."""

    def __init__(self, sizes: Sequence[int], start: Sequence[int]) -> None:
        super().__init__()
        self.sizes, self.start = tuple(sizes), tuple(start)
        table = torch.tensor(list(sizes))
        self.num_features = int(table.sum())
        first = torch.cumsum(table, 0) - table - torch.tensor(list(start))
        self.offset: Tensor
        self.register_buffer("offset", first, persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        one_hot = torch.zeros(values.shape[0], self.num_features, device=values.device)
        self.write(values, one_hot)
        return one_hot

    def write(self, observation: Tensor, features: Tensor) -> None:
        index = observation.reshape(observation.shape[0], -1).long() + self.offset
        features.scatter_(1, index, 1.0)


class Concatenation(Encoder):
    """Encodes the parts of a Dict or Tuple observation and concatenates them."""

    def __init__(self, spaces: dict[Any, gym.Space], filters: ConvFilters) -> None:
        super().__init__()
        self.keys = list(spaces)
        parts = [_vector(space, filters) for space in spaces.values()]
        self.parts = nn.ModuleList(parts)
        self.sizes = [part.num_features for part in parts]
        self.num_features = sum(self.sizes)

    def forward(self, observation: Any) -> Tensor:
        some = _any_leaf(observation)
        features = torch.zeros(some.shape[0], self.num_features, device=some.device)
        self.write(observation, features)
        return features

    def write(self, observation: Any, features: Tensor) -> None:
        start = 0
        for part, key, size in zip(self.parts, self.keys, self.sizes, strict=True):
            # Not `split`: gradients of convolutions do not pass what is written into its views.
            cast("Encoder", part).write(observation[key], features.narrow(1, start, size))
            start += size


def _any_leaf(observation: Any) -> Tensor:
    while not isinstance(observation, Tensor):
        parts = observation.values() if isinstance(observation, dict) else observation
        observation = next(iter(parts))
    return observation


def _vector(space: gym.Space, filters: ConvFilters) -> Encoder:
    """Chooses how one part of an observation becomes a vector."""
    channel_sizes = grid_channels(space)
    if channel_sizes is not None:
        cells = gym.spaces.flatdim(space) // len(channel_sizes)
        return GridOfCategories(cells, channel_sizes)
    if isinstance(space, gym.spaces.Dict):
        return Concatenation(dict(space.spaces), filters)
    if isinstance(space, gym.spaces.Tuple):
        return Concatenation(dict(enumerate(space.spaces)), filters)
    if isinstance(space, gym.spaces.Discrete):
        return OneHot([int(space.n)], [int(space.start)])
    if isinstance(space, gym.spaces.MultiDiscrete):
        return OneHot(space.nvec.flatten().tolist(), space.start.flatten().tolist())
    if isinstance(space, gym.spaces.MultiBinary):
        return FlatBox(gym.spaces.Box(0, 1, space.shape))
    if isinstance(space, gym.spaces.Box):
        if filters and is_picture(space.shape):
            return ImageCNN(space, filters)
        return FlatBox(space)
    raise ValueError(
        f"observation space {space} is not supported by the default model: "
        "give a class of your own in model.class"
    )


def build_encoder(
    space: gym.Space, hidden_sizes: Sequence[int], conv_filters: ConvFilters | None = None
) -> WithHiddenLayers:
    """Returns a module from observations of `space` to features.

    Args:
        space: Any nesting of Dict and Tuple over Box, Discrete, MultiDiscrete, MultiBinary.
        hidden_sizes: Widths of the fully connected layers after the observation vector.
        conv_filters: Convolutions for images of at least 10 by 10 pixels; None: three of
            stride 2.

    Raises:
        ValueError: for a space of another kind.
    """
    return WithHiddenLayers(_vector(space, conv_filters or DEFAULT_CONV_FILTERS), hidden_sizes)


class CentralEncoder(Encoder):
    """Encodes what a central critic reads (`central_critic_space`), each observation once.

    The first layer is one of the observations of all agents side by side. As a sum of layers, one
    for each agent, it runs on an agent's distinct observations only: `position`, int64 [B, A] in
    the batch, tells which one a row has.

    Args:
        space: of all that the critic reads.
        hidden_sizes: widths of the fully connected layers.
        conv_filters: as in `build_encoder`.
    """

    def __init__(
        self,
        space: gym.spaces.Dict,
        hidden_sizes: Sequence[int],
        conv_filters: ConvFilters | None = None,
    ) -> None:
        super().__init__()
        seen = cast("gym.spaces.Tuple", space[OF_ALL])
        rest = {key: part for key, part in space.spaces.items() if key != OF_ALL}
        filters = conv_filters or DEFAULT_CONV_FILTERS
        self.parts = nn.ModuleList([_vector(part, filters) for part in seen.spaces])
        self.rest = Concatenation(rest, filters)
        widths = [cast("Encoder", part).num_features for part in self.parts]
        whole = nn.Linear(sum(widths) + self.rest.num_features, hidden_sizes[0])
        self.first = nn.ModuleList([nn.Linear(w, hidden_sizes[0], bias=False) for w in widths])
        self.first_rest = nn.Linear(self.rest.num_features, hidden_sizes[0])
        with torch.no_grad():  # as one layer would start
            layers = (*self.first, self.first_rest)
            split = whole.weight.split([*widths, self.rest.num_features], dim=1)
            for layer, weight in zip(layers, split, strict=True):
                cast("nn.Linear", layer).weight.copy_(weight)
            self.first_rest.bias.copy_(whole.bias)
        hidden: list[nn.Module] = [nn.ReLU()]
        for width, size in itertools.pairwise(hidden_sizes):
            hidden += [nn.Linear(width, size), nn.ReLU()]
        self.layers = nn.Sequential(*hidden)
        self.num_features = hidden_sizes[-1]

    def forward(self, observation: Any) -> Tensor:
        rest = {key: observation[key] for key in self.rest.keys}
        outputs: Tensor = self.first_rest(self.rest(rest))
        position = observation[POSITION]
        pairs = zip(self.parts, self.first, observation[OF_ALL], strict=True)
        for agent, (part, layer, seen) in enumerate(pairs):
            outputs = outputs + layer(part(seen)).index_select(0, position[:, agent])
        features: Tensor = self.layers(outputs)
        return features


def build_flattener(space: gym.Space) -> Encoder:
    """Returns what `empo_rllib.envs.encoding.flatten` does, as a module without parameters.

    Raises:
        ValueError: for a space of another kind than those of `build_encoder`.
    """
    return _vector(space, ())
