"""Observations of every kind become the vectors that `empo_rllib.envs.encoding` describes."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from empo_rllib.envs.adapting import central_critic_space
from empo_rllib.envs.encoding import flat_size, flatten
from empo_rllib.rl_modules.encoders import CentralEncoder, build_encoder, has_channels_first

MULTIGRID_TOPS = np.array([10, 5, 3], np.uint8)
GRID = spaces.Box(0, np.broadcast_to(MULTIGRID_TOPS, (7, 7, 3)), dtype=np.uint8)
MULTIGRID = spaces.Dict({"image": GRID, "direction": spaces.Discrete(4)})
PICTURE = spaces.Box(0, 255, (12, 16, 3), np.uint8)

SPACES: dict[str, gym.Space] = {
    "grid": GRID,
    "multigrid": MULTIGRID,
    "grid of two channels": spaces.Box(0, np.broadcast_to([3, 1], (2, 4, 2)), dtype=np.uint8),
    "discrete": spaces.Discrete(5),
    "discrete from three": spaces.Discrete(4, start=3),
    "discrete from minus two": spaces.Discrete(4, start=-2),
    "multi_discrete": spaces.MultiDiscrete([3, 2, 4]),
    "multi_discrete with starts": spaces.MultiDiscrete([3, 2], start=[-1, 5]),
    "table of multi_discrete": spaces.MultiDiscrete([[2, 3], [4, 2]]),
    "multi_binary": spaces.MultiBinary(6),
    "table of multi_binary": spaces.MultiBinary([2, 3]),
    "number": spaces.Box(-1.0, 1.0, ()),
    "box": spaces.Box(-2.0, 3.0, (2, 3)),
    "float64 box": spaces.Box(-np.inf, np.inf, (4,), np.float64),
    "integer box": spaces.Box(0, 20, (3,), np.int64),
    "small picture": spaces.Box(0, 255, (4, 5, 3), np.uint8),
    "bytes": spaces.Box(0, 255, (8,), np.uint8),
    "small bytes": spaces.Box(0, 9, (8,), np.uint8),
    "tuple": spaces.Tuple([spaces.Discrete(2), spaces.Box(0.0, 1.0, (3,))]),
    "nested": spaces.Dict({"b": spaces.Dict({"c": spaces.Discrete(3)}), "a": GRID}),
    "tuple in dict": spaces.Dict(x=spaces.Tuple([spaces.Discrete(3), spaces.MultiBinary(2)])),
}


def batched(space: gym.Space, observations: list[Any]) -> Any:
    """Stacks observations as RLlib's connectors do: nested as the space is, tensors at the end."""
    if isinstance(space, spaces.Dict):
        return {k: batched(s, [o[k] for o in observations]) for k, s in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(batched(s, [o[i] for o in observations]) for i, s in enumerate(space.spaces))
    return torch.from_numpy(np.stack(observations))


def samples(space: gym.Space, count: int = 6) -> list[Any]:
    space.seed(0)
    return [space.sample() for _ in range(count)]


@pytest.mark.parametrize("name", SPACES)
def test_the_vector_of_an_observation_is_the_one_that_flatten_makes(name: str) -> None:
    space = SPACES[name]
    observations = samples(space)
    encoder = build_encoder(space, hidden_sizes=[])
    vectors = encoder(batched(space, observations))

    assert encoder.num_features == flat_size(space)
    assert vectors.dtype == torch.float32
    expected = np.stack([flatten(space, observation) for observation in observations])
    np.testing.assert_allclose(vectors.numpy(), expected, rtol=1e-6)


def test_each_cell_of_a_grid_is_one_hot_of_type_colour_and_state() -> None:
    image = samples(GRID, 1)[0]
    vector = build_encoder(GRID, hidden_sizes=[])(torch.from_numpy(image[None]))[0]

    cells = vector.reshape(7, 7, 21).numpy()
    for x in range(7):
        for y in range(7):
            kind, colour, state = (int(value) for value in image[x, y])
            assert np.flatnonzero(cells[x, y]).tolist() == [kind, 11 + colour, 17 + state]
            assert cells[x, y].sum() == 3


def test_the_order_of_the_keys_of_an_observation_does_not_matter() -> None:
    encoder = build_encoder(MULTIGRID, hidden_sizes=[8])
    batch = batched(MULTIGRID, samples(MULTIGRID))
    turned = dict(reversed(batch.items()))
    assert list(turned) != list(batch)
    assert torch.equal(encoder(batch), encoder(turned))


def test_hidden_layers_have_the_sizes_asked_for_and_end_in_a_relu() -> None:
    encoder = build_encoder(MULTIGRID, hidden_sizes=[32, 9])
    features = encoder(batched(MULTIGRID, samples(MULTIGRID)))
    widths = [layer.out_features for layer in encoder.modules() if isinstance(layer, nn.Linear)]
    assert widths == [32, 9]
    assert encoder.num_features == 9
    assert features.shape == (6, 9)
    assert (features >= 0).all()
    assert (features > 0).any()


def test_the_tables_of_an_encoder_are_no_weights() -> None:
    encoder = build_encoder(MULTIGRID, hidden_sizes=[8])
    assert {key.rpartition(".")[2] for key in encoder.state_dict()} == {"weight", "bias"}


def test_a_picture_of_ten_pixels_goes_through_convolutions_a_smaller_one_does_not() -> None:
    for side, convolutions in ((9, 0), (10, 3)):
        picture = spaces.Box(0, 255, (side, 20, 3), np.uint8)
        modules = build_encoder(picture, hidden_sizes=[8]).modules()
        assert sum(isinstance(module, nn.Conv2d) for module in modules) == convolutions


@pytest.mark.parametrize(
    ("filters", "num_features"),
    [
        pytest.param(None, 32 * 2 * 2, id="default: 12x16 to 6x8 to 3x4 to 2x2"),
        pytest.param([[5, 3, 1]], 5 * 12 * 16, id="one of stride 1 keeps the size"),
        pytest.param([[4, 5, 2], [7, 3, 3]], 7 * 2 * 3, id="12x16 to 6x8 to 2x3"),
    ],
)
def test_the_convolutions_are_those_asked_for(filters: Any, num_features: int) -> None:
    encoder = build_encoder(PICTURE, hidden_sizes=[], conv_filters=filters)
    features = encoder(batched(PICTURE, samples(PICTURE, 2)))
    assert features.shape == (2, num_features)
    assert encoder.num_features == num_features
    assert features.dtype == torch.float32


def test_the_last_axis_of_a_picture_is_its_channels() -> None:
    encoder = build_encoder(PICTURE, hidden_sizes=[], conv_filters=[[2, 1, 1]])
    (convolution,) = (module for module in encoder.modules() if isinstance(module, nn.Conv2d))
    with torch.no_grad():
        convolution.weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])[..., None, None])
        convolution.bias.zero_()
    image = samples(PICTURE, 1)[0]
    red, blue = encoder(torch.from_numpy(image[None])).reshape(2, 12, 16).detach().numpy()
    np.testing.assert_allclose(red, image[..., 0] / 255, rtol=1e-6)
    np.testing.assert_allclose(blue, image[..., 2] / 255, rtol=1e-6)


def test_a_picture_of_floats_is_not_scaled() -> None:
    floats = spaces.Box(0.0, 1.0, PICTURE.shape, np.float32)
    bytes_encoder, float_encoder = (
        build_encoder(space, hidden_sizes=[4]) for space in (PICTURE, floats)
    )
    float_encoder.load_state_dict(bytes_encoder.state_dict())
    image = batched(PICTURE, samples(PICTURE, 2))
    torch.testing.assert_close(bytes_encoder(image), float_encoder(image / 255))


@pytest.mark.parametrize(
    "space", [spaces.Text(5), spaces.Dict(a=spaces.Sequence(spaces.Discrete(2)))], ids=str
)
def test_a_space_without_fixed_size_is_refused_with_the_way_out(space: gym.Space) -> None:
    with pytest.raises(ValueError, match=r"not supported by the default model.*model\.class"):
        build_encoder(space, hidden_sizes=[8])


@pytest.mark.parametrize("shape", [(3, 12, 16), (1, 10, 10), (4, 20, 12), (16, 20, 20)])
def test_pictures_with_channels_first_are_read_as_the_same_with_channels_last(
    shape: tuple[int, ...],
) -> None:
    first = spaces.Box(0, 255, shape, np.uint8)
    last = spaces.Box(0, 255, (*shape[1:], shape[0]), np.uint8)
    torch.manual_seed(0)
    of_first, of_last = build_encoder(first, [8]), build_encoder(last, [8])
    of_last.load_state_dict(of_first.state_dict())
    picture = batched(first, samples(first))

    assert torch.equal(of_first(picture), of_last(picture.permute(0, 2, 3, 1)))


@pytest.mark.parametrize("shape", [(12, 16, 3), (10, 10, 10), (20, 20, 64), (84, 84, 16)])
def test_other_pictures_have_their_channels_last(shape: tuple[int, ...]) -> None:
    assert not has_channels_first(shape)


NESTED = {
    "alone": lambda space: space,
    "in a dict, with another and an agent's id": lambda space: spaces.Dict(
        agent_id=spaces.Box(0.0, 1.0, (2,)), observation=space, other=PICTURE
    ),
    "in a tuple": lambda space: spaces.Tuple([space, space]),
    "deep": lambda space: spaces.Dict(a=spaces.Tuple([spaces.Dict(b=space, c=space)])),
}


@pytest.mark.parametrize("nesting", NESTED)
@pytest.mark.parametrize("name", [*SPACES, "picture"])
def test_every_parameter_learns_from_every_kind_of_observation(name: str, nesting: str) -> None:
    space = NESTED[nesting]({**SPACES, "picture": PICTURE}[name])
    torch.manual_seed(0)
    encoder = build_encoder(space, hidden_sizes=[8])

    encoder(batched(space, samples(space))).square().sum().backward()

    gradients = [parameter.grad for parameter in encoder.parameters()]
    assert all(gradient is not None and gradient.any() for gradient in gradients)


def test_a_central_encoder_is_one_network_of_all_observations_side_by_side():
    torch.manual_seed(0)
    parts = (spaces.Box(-1.0, 1.0, (3,)), spaces.Discrete(4))
    space = central_critic_space(parts, 2, with_id=False)
    encoder = CentralEncoder(space, [8, 5])
    vectors, choices = torch.randn(2, 3), torch.tensor([3, 0, 1])
    position = torch.tensor([[0, 2], [1, 0], [1, 1], [0, 0]])
    there = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1]])
    found = encoder({"observations": (vectors, choices), "position": position, "there": there})
    chosen = torch.nn.functional.one_hot(choices, 4).float()
    whole = torch.cat([vectors[position[:, 0]], chosen[position[:, 1]], there.float()], 1)
    layers = [*encoder.first, encoder.first_rest]
    weight = torch.cat([layer.weight for layer in layers], 1)
    hidden = torch.relu(whole @ weight.T + encoder.first_rest.bias)
    expected = torch.relu(encoder.layers[1](hidden))
    torch.testing.assert_close(found, expected)
    assert weight.abs().max() <= (3 + 4 + 2) ** -0.5  # starts as one layer does
    assert encoder.num_features == 5
