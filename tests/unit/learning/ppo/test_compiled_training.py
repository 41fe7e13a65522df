"""Kernels against torch: the same networks, minibatches and Adam, in both."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fragments import VECTOR, VIEW, Team, random_fragment
from gymnasium import spaces
from learners import CHOICES, DISCRETE, TEAMS, build, metrics_of, weights_of
from torch import nn

from empo_rllib.kernels.network import describe
from empo_rllib.learning.ppo import compiled_training
from empo_rllib.learning.ppo.learner import FragmentPPOLearner
from empo_rllib.rl_modules.actor_critic import ActorCritic

MIXED = spaces.Dict({"cells": VIEW, "numbers": VECTOR, "digits": spaces.MultiDiscrete([3, 4])})
KINDS = {
    "categories": Team({"all": [0, 1]}, {"all": (VIEW, DISCRETE)}),
    "numbers": Team({"all": [0, 1]}, {"all": (VECTOR, CHOICES)}),
    "both": Team({"all": [0, 1]}, {"all": (MIXED, DISCRETE)}, with_agent_id=["all"]),
}


def learn(team, kernels, updates=6, kinds=40, spoil=None, **settings):
    """Returns a learner after 50 minibatches in each of some updates, and its last metrics."""
    learner = build(FragmentPPOLearner, team, kernels=kernels, lr=1e-3, **settings)
    metrics = {}
    for seed in range(updates):
        modules = learner.module._rl_modules
        fragment = random_fragment(team, modules, num_steps=40, seed=seed, kinds=kinds)
        if spoil is not None and seed == updates - 1:
            spoil(fragment)
        torch.manual_seed(seed)
        results = learner.update(
            episodes=[fragment], num_epochs=8, minibatch_size=40, shuffle_batch_per_epoch=True
        )
        metrics = dict(metrics_of(results))
    return learner, metrics


def adam_of(learner):
    states = [optimizer.state for optimizer in learner._named_optimizers.values()]
    return [{k: v.clone() for k, v in s.items()} for state in states for s in state.values()]


def distance(found, expected):
    """The norm of the difference, relative to that of what was expected."""
    return ((found - expected).norm() / expected.norm().clamp(min=1e-12)).item()


@pytest.fixture
def trained(monkeypatch):
    """Counts the minibatches that kernels trained on."""
    counts = []
    original = compiled_training._train

    def counting(*args):
        result = original(*args)
        counts.append(result[0])
        return result

    monkeypatch.setattr(compiled_training, "_train", counting)
    return counts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shared_trunk", [False, True])
def test_weights_and_adam_are_those_of_torch_after_200_minibatches(kind, shared_trunk, trained):
    team = KINDS[kind]
    ours, metrics = learn(team, True, shared_trunk=shared_trunk)
    theirs, expected = learn(team, False, shared_trunk=shared_trunk)
    assert sum(trained) >= 200
    weights = weights_of(theirs)
    for name, found in weights_of(ours).items():
        assert distance(found, weights[name]) < 1e-5, name
    for found, wanted in zip(adam_of(ours), adam_of(theirs), strict=True):
        assert found["step"] == wanted["step"] == sum(trained)
        assert distance(found["exp_avg"], wanted["exp_avg"]) < 1e-3
        assert distance(found["exp_avg_sq"], wanted["exp_avg_sq"]) < 1e-3
    assert metrics == pytest.approx(expected, rel=1e-3, abs=1e-4, nan_ok=True)


def spoil_rewards(fragment):
    fragment.rewards[20] = np.nan


def spoil_observations(fragment):
    fragment.observations[0][0][20] = np.nan


@pytest.mark.parametrize(
    ("kind", "spoil", "minibatches"),
    [("categories", spoil_rewards, 39), ("numbers", spoil_observations, 0)],
)
def test_what_is_not_finite_is_noticed_as_in_torch(kind, spoil, minibatches, trained):
    """Torch takes over where gradients are not; the loss is then NaN, and the weights are not."""
    team = KINDS[kind]
    ours, metrics = learn(team, True, updates=1, spoil=spoil)
    theirs, expected = learn(team, False, updates=1, spoil=spoil)
    assert trained == [minibatches]
    assert np.isnan(expected["all/total_loss"])
    assert metrics == pytest.approx(expected, rel=1e-3, abs=1e-4, nan_ok=True)
    weights = weights_of(theirs)
    for name, found in weights_of(ours).items():
        assert found.isfinite().all()
        torch.testing.assert_close(found, weights[name])


def test_a_weight_that_is_not_finite_is_left_to_torch(trained):
    team = KINDS["categories"]
    learner = build(FragmentPPOLearner, team)
    fragment = random_fragment(team, learner.module._rl_modules)
    with torch.no_grad():
        learner.module["all"].encoder.layers[1].weight[0, 0] = torch.nan
    learner.update(episodes=[fragment], num_epochs=2, minibatch_size=16)
    assert not trained


class Wider(ActorCritic):
    pass


def changed(change):
    module = build(FragmentPPOLearner, TEAMS["a policy each"]).module["first"]
    change(module)
    return module


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: setattr(m.encoder.layers, "2", nn.Tanh()), "hidden layers"),
        (lambda m: m.encoder.layers.append(nn.Dropout()), "hidden layers"),
        (lambda m: m.add_module("more", nn.Linear(2, 2)), "has more beside"),
        (lambda m: m.register_parameter("more", nn.Parameter(torch.ones(2))), "other parameters"),
        (lambda m: m.actor.weight.requires_grad_(False), "frozen"),
        (lambda m: m.actor.register_forward_hook(print), "hooks"),
    ],
    ids=["activation", "dropout", "part", "parameter", "frozen", "hook"],
)
def test_networks_that_were_changed_are_left_to_torch(change, reason):
    assert reason in describe(changed(change))


def test_a_class_of_the_users_own_is_left_to_torch():
    learner = build(FragmentPPOLearner, TEAMS["a policy each"], module_class=Wider)
    assert "Wider is not" in describe(learner.module["first"])
