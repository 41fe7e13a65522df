"""The default RLModules keep what RLlib's algorithms rely on."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import TARGET_NETWORK_ACTION_DIST_INPUTS

from empo_rllib.rl_modules.actor_critic import ActorCritic, ActorCriticWithTarget

OBSERVATIONS = spaces.Dict({"cell": spaces.Discrete(4), "speed": spaces.Box(-1.0, 1.0, (3,))})
ACTIONS: dict[str, tuple[gym.Space, int]] = {
    "discrete": (spaces.Discrete(7), 7),
    "multi_discrete": (spaces.MultiDiscrete([3, 2, 4]), 9),
    "box": (spaces.Box(-1.0, 1.0, (2,)), 4),
}


def build(
    action_space: gym.Space = ACTIONS["discrete"][0],
    shared_trunk: bool = False,
    kind: type[ActorCritic] = ActorCritic,
) -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_sizes": [16, 8], "conv_filters": None, "shared_trunk": shared_trunk}
    return kind(observation_space=OBSERVATIONS, action_space=action_space, model_config=sizes)


def batch_of(count: int = 5) -> dict[str, Any]:
    OBSERVATIONS.seed(0)
    seen = [OBSERVATIONS.sample() for _ in range(count)]
    return {
        Columns.OBS: {
            key: torch.from_numpy(np.stack([one[key] for one in seen])) for key in OBSERVATIONS
        }
    }


@pytest.mark.parametrize("kind", ACTIONS)
def test_the_action_inputs_are_one_float32_row_per_observation(kind: str) -> None:
    space, width = ACTIONS[kind]
    module, batch = build(space), batch_of()
    for forward in (module.forward_inference, module.forward_exploration, module.forward_train):
        inputs = forward(batch)[Columns.ACTION_DIST_INPUTS]
        assert inputs.shape == (5, width)
        assert inputs.dtype == torch.float32


@pytest.mark.parametrize("kind", ACTIONS)
def test_actions_drawn_from_the_policy_have_the_shape_of_the_action_space(kind: str) -> None:
    space, _ = ACTIONS[kind]
    module = build(space)
    inputs = module.forward_exploration(batch_of())[Columns.ACTION_DIST_INPUTS]
    actions = module.get_exploration_action_dist_cls().from_logits(inputs).sample()
    assert actions.shape == (5, *space.shape)
    if kind != "box":  # a normal distribution has no bounds; RLlib clips or squashes what it draws
        assert all(space.contains(action.numpy()) for action in actions)


def test_inference_exploration_and_training_see_the_same_policy() -> None:
    module, batch = build(), batch_of()
    inference, exploration, train = (
        forward(batch)[Columns.ACTION_DIST_INPUTS]
        for forward in (module.forward_inference, module.forward_exploration, module.forward_train)
    )
    assert torch.equal(inference, exploration)
    assert torch.equal(inference, train)


@pytest.mark.parametrize("kind", ["discrete", "multi_discrete"])
def test_the_first_policy_is_nearly_uniform(kind: str) -> None:
    module = build(ACTIONS[kind][0])
    with torch.no_grad():  # even for features far larger than those of a new encoder
        inputs = module.actor(torch.full((1, 8), 3.0))
    sizes = [7] if kind == "discrete" else [3, 2, 4]
    for logits, size in zip(inputs.split(sizes, dim=1), sizes, strict=True):
        probabilities = torch.softmax(logits, dim=-1)
        assert torch.allclose(probabilities, torch.tensor(1 / size), rtol=0.1)


@pytest.mark.parametrize("shared_trunk", [False, True])
def test_values_are_the_same_with_and_without_embeddings(shared_trunk: bool) -> None:
    module, batch = build(shared_trunk=shared_trunk), batch_of()
    embeddings = module.forward_train(batch)[Columns.EMBEDDINGS]
    values = module.compute_values(batch)
    assert values.shape == (5,)
    assert values.dtype == torch.float32
    assert len(set(values.tolist())) == 5
    assert torch.equal(values, module.compute_values(batch, embeddings=embeddings))


@pytest.mark.parametrize("shared_trunk", [False, True])
def test_the_critic_trains_the_actors_features_only_where_the_trunk_is_shared(
    shared_trunk: bool,
) -> None:
    module, batch = build(shared_trunk=shared_trunk), batch_of()
    embeddings = module.forward_train(batch)[Columns.EMBEDDINGS]
    module.compute_values(batch, embeddings=embeddings).sum().backward()
    reached = [parameter.grad is not None for parameter in module.encoder.parameters()]
    assert reached == [shared_trunk] * 4
    assert (module.critic_encoder is None) == shared_trunk


def test_a_restored_module_acts_and_judges_the_same() -> None:
    module, batch = build(), batch_of()
    restored = build()
    with torch.no_grad():
        for parameter in restored.parameters():
            parameter.zero_()
    restored.set_state(module.get_state())
    for key, value in module.forward_train(batch).items():
        assert torch.equal(restored.forward_train(batch)[key], value)
    assert torch.equal(restored.compute_values(batch), module.compute_values(batch))


def test_an_action_space_of_another_kind_is_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match=r"action space .* not supported.*model\.class"):
        build(spaces.MultiBinary(3))


def test_the_target_policy_stays_until_it_is_synchronised() -> None:
    module, batch = build(kind=ActorCriticWithTarget), batch_of()
    module.make_target_networks()
    before = module.forward_target(batch)[TARGET_NETWORK_ACTION_DIST_INPUTS]
    assert torch.equal(before, module.forward_train(batch)[Columns.ACTION_DIST_INPUTS])
    assert not before.requires_grad

    with torch.no_grad():
        for parameter in [*module.encoder.parameters(), *module.actor.parameters()]:
            parameter.add_(0.1)
    after = module.forward_train(batch)[Columns.ACTION_DIST_INPUTS]
    assert not torch.allclose(before, after)
    assert torch.equal(module.forward_target(batch)[TARGET_NETWORK_ACTION_DIST_INPUTS], before)

    for network, target in module.get_target_network_pairs():
        target.load_state_dict(network.state_dict())
    assert torch.equal(module.forward_target(batch)[TARGET_NETWORK_ACTION_DIST_INPUTS], after)


def test_the_target_policy_is_not_trained() -> None:
    module = build(kind=ActorCriticWithTarget)
    module.make_target_networks()
    targets = [target for _, target in module.get_target_network_pairs()]
    assert not any(p.requires_grad for target in targets for p in target.parameters())
