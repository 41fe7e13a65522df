"""The kernels' network is the RLModule's: outputs, gradients and actions, in both precisions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from empo_rllib.kernels.acting import CompiledActor
from empo_rllib.kernels.layers import allocate_work, backward, forward, shape_of
from empo_rllib.kernels.network import Network, describe
from empo_rllib.kernels.observations import Reader
from empo_rllib.rl_modules.actor_critic import ActorCritic

GRID = spaces.Box(0, np.tile(np.array([10, 5, 3], np.uint8), (5, 5, 1)), (5, 5, 3), np.uint8)
SPACES = {
    "a grid and more": spaces.Dict(
        {
            "image": GRID,
            "direction": spaces.Discrete(4, start=2),
            "rest": spaces.Tuple(
                [spaces.Box(-1, 1, (3,)), spaces.MultiDiscrete([5, 3]), spaces.MultiBinary(2)]
            ),
        }
    ),
    "bytes": spaces.Box(0, 255, (6,), np.uint8),
    "a number of categories": spaces.Discrete(9),
}
ACTIONS = {"discrete": spaces.Discrete(7), "several": spaces.MultiDiscrete([3, 4])}


def module_of(space, actions="discrete", shared_trunk=False, hidden=(16, 8)):
    torch.manual_seed(0)
    sizes = {"hidden_sizes": list(hidden), "conv_filters": None, "shared_trunk": shared_trunk}
    module = ActorCritic(
        observation_space=SPACES[space], action_space=ACTIONS[actions], model_config=sizes
    )
    torch.nn.init.normal_(module.actor.weight, std=0.3)
    return module


def tensors(samples, space):
    """Returns a batch of samples, nested as their space."""
    if isinstance(space, spaces.Dict):
        return {key: tensors([s[key] for s in samples], part) for key, part in space.items()}
    if isinstance(space, spaces.Tuple):
        parts = enumerate(space.spaces)
        return tuple(tensors([s[number] for s in samples], part) for number, part in parts)
    return torch.from_numpy(np.stack([np.asarray(sample) for sample in samples]))


def observations(space, count=30):
    SPACES[space].seed(0)
    return tensors([SPACES[space].sample() for _ in range(count)], SPACES[space])


def flat(network: Network, columns, of):
    """The parameters, or what `of` makes of them, as kernels have them."""
    pieces = []
    for layer in network.layers:
        weight = of(layer.weight).detach().numpy().T
        used = weight[columns] if layer in network.first_layers else weight
        pieces += [used.ravel(), of(layer.bias).detach().numpy()]
    return np.concatenate(pieces)


def relative(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("shared_trunk", [False, True])
@pytest.mark.parametrize(("precision", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
def test_outputs_and_gradients_are_those_of_torch(space, dense, shared_trunk, precision, bound):
    module, seen = module_of(space, shared_trunk=shared_trunk), observations(space)
    network = describe(module)
    dtype = np.float64 if precision is torch.float64 else np.float32
    in_use = np.zeros(network.first_layers[0].in_features, bool)
    batch = Reader(network.parts).encode(seen, in_use, 30, dense)
    coded = batch.coded._replace(numbers=batch.coded.numbers.astype(dtype))
    module = module.to(precision)
    rows = np.arange(29, 3, -1)
    shape = shape_of(network, len(batch.columns))
    work = allocate_work(shape, coded, len(rows), dtype)
    logits, values = np.empty((len(rows), 7), dtype), np.empty((len(rows), 1), dtype)
    parameters = flat(network, batch.columns, lambda p: p)
    forward(parameters, shape, coded, rows, work, logits, values)

    vector = module.encoder.vector(seen)[torch.from_numpy(rows)].to(precision)
    features = module.encoder.hidden(vector)
    critic = features if shared_trunk else module.critic_encoder.hidden(vector)
    expected, value = module.actor(features), module.critic(critic)
    assert relative(logits, expected.detach().numpy()) < bound
    assert relative(values, value.detach().numpy()) < bound

    slopes = torch.randn_like(expected), torch.randn_like(value)
    torch.autograd.backward([expected, value], slopes)
    gradients = np.empty_like(parameters)
    pulled = (slope.numpy() for slope in slopes)
    backward(parameters, shape, coded, rows, work, *pulled, gradients)
    wanted = flat(network, batch.columns, lambda p: p.grad)
    for begin, end in zip(shape.starts[:-1], shape.starts[1:], strict=True):
        assert relative(gradients[begin:end], wanted[begin:end]) < bound


def test_columns_that_no_observation_uses_are_left_out_unless_they_are_in_use():
    network, seen = describe(module_of("a grid and more")), observations("a grid and more", 1)
    in_use = np.zeros(network.first_layers[0].in_features, bool)
    few = Reader(network.parts).encode(seen, in_use, 1).columns
    in_use[np.setdiff1d(np.arange(len(in_use)), few)[:3]] = True
    assert len(Reader(network.parts).encode(seen, in_use, 1).columns) == len(few) + 3


def test_the_cheaper_way_through_the_first_layer_is_taken():
    module = module_of("a grid and more")
    network, in_use = describe(module), np.zeros(25 * 21 + 4 + 3 + 8 + 2, bool)
    reader = Reader(network.parts)
    seen = observations("a grid and more", 200)
    alike = {**seen, "image": seen["image"][:1].expand(200, -1, -1, -1)}
    assert reader.encode(seen, in_use, 10).coded.dense
    assert not reader.encode(alike, in_use, 200).coded.dense


@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("space", SPACES)
def test_actors_see_choose_and_rate_as_the_module_does(space, actions):
    module, seen = module_of(space, actions), observations(space)
    expected = module.forward_inference({"obs": seen})["action_dist_inputs"].detach()
    actor = CompiledActor.of(module)
    greedy, sampled = actor.act(seen, greedy=True), actor.act(seen, greedy=False)
    for acted in (greedy, sampled):
        assert relative(acted.logits, expected.numpy()) < 1e-5
    distribution = module.get_inference_action_dist_cls().from_logits(expected)
    most_likely = distribution.to_deterministic().sample().numpy()
    assert np.array_equal(greedy.actions, most_likely.reshape(greedy.actions.shape))
    assert not greedy.logp.any()
    logp = distribution.logp(torch.from_numpy(sampled.actions)).numpy()
    np.testing.assert_allclose(sampled.logp, logp, atol=1e-5)


def test_actions_are_sampled_with_their_probabilities_by_torchs_seed():
    module, seen = module_of("bytes"), observations("bytes", 1).expand(20_000, -1)
    actor = CompiledActor.of(module)
    torch.manual_seed(4)
    first = actor.act(seen, greedy=False)
    torch.manual_seed(4)
    assert np.array_equal(actor.act(seen, greedy=False).actions, first.actions)
    shares = np.bincount(first.actions, minlength=7) / len(first.actions)
    expected = np.exp(first.logits[0]) / np.exp(first.logits[0]).sum()
    np.testing.assert_allclose(shares, expected, atol=0.02)  # five standard errors


def test_actors_follow_the_weights():
    module, seen = module_of("a grid and more"), observations("a grid and more")
    actor = CompiledActor.of(module)
    before = actor.act(seen, greedy=True).logits
    module.load_state_dict(module_of("a grid and more", hidden=(16, 8)).state_dict())
    with torch.no_grad():
        for parameter in module.encoder.parameters():
            parameter.mul_(1.5)
    after = actor.act(seen, greedy=True).logits
    expected = module.forward_inference({"obs": seen})["action_dist_inputs"]
    assert relative(after, expected.detach().numpy()) < 1e-5
    assert relative(before, after) > 0.1


def test_what_is_not_finite_or_outside_the_space_is_left_to_torch():
    module = module_of("a number of categories")
    actor = CompiledActor.of(module)
    assert actor.act(torch.tensor([9]), greedy=True) is None
    with torch.no_grad():
        module.encoder.layers[1].weight[0, 0] = torch.nan
    assert actor.act(torch.tensor([1]), greedy=True) is None


def test_a_number_that_is_not_finite_reaches_the_outputs():
    module = module_of("bytes")
    module.observation_space = spaces.Box(-1, 1, (6,))
    seen = torch.ones(2, 6)
    seen[1, 3] = torch.nan
    logits = CompiledActor.of(module).act(seen, greedy=True).logits
    assert np.isfinite(logits[0]).all()
    assert np.isnan(logits[1]).all()
