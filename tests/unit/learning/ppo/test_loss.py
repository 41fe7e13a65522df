from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from fragments import random_fragment
from learners import TEAMS, build

from empo_rllib.learning.ppo.categorical import CategoricalLoss
from empo_rllib.learning.ppo.learner import FragmentPPOLearner
from empo_rllib.learning.ppo.loss import LossSettings, TorchLoss
from empo_rllib.learning.ppo.update import plan_update

PLAIN = LossSettings(0.3, 10.0, 1.0, 0.0, 0.2, True)
VARIANTS = {
    "plain": PLAIN,
    "clipped hard": dataclasses.replace(PLAIN, clip_param=0.01),
    "values clipped": dataclasses.replace(PLAIN, vf_clip_param=0.5, vf_loss_coeff=0.25),
    "entropy": dataclasses.replace(PLAIN, entropy_coeff=0.5),
    "no KL": dataclasses.replace(PLAIN, kl_coeff=None),
    "no critic": dataclasses.replace(PLAIN, use_critic=False),
}


@pytest.fixture(scope="module")
def sampled():
    """The module of discrete actions and its batch."""
    team = TEAMS["one policy for all"]
    learner = build(FragmentPPOLearner, team)
    fragments = [random_fragment(team, learner.module._rl_modules)]
    return learner.module["all"], learner._build_batch(fragments, "all")


def outcome(loss, minibatch, inputs, values):
    inputs = inputs.clone().requires_grad_()
    known = None if values is None else values.clone().requires_grad_()
    loss.backward(minibatch, inputs, known)
    return inputs.grad, None if known is None else known.grad, loss.metrics()


def assert_equal_losses(sampled, settings, deduplicate, change=lambda inputs: inputs):
    module, batch = sampled
    dealt = np.arange(len(batch))[None]
    minibatch = plan_update(batch, dealt, deduplicate).minibatches[0]
    torch.manual_seed(3)
    inputs = change(torch.randn(len(minibatch.observations), 5))
    values = torch.randn(len(inputs)) if settings.use_critic else None
    results = [
        outcome(loss, minibatch, inputs, values)
        for loss in (CategoricalLoss(settings, batch), TorchLoss(module, settings, batch))
    ]
    (compiled, compiled_values, metrics), (expected, expected_values, expected_metrics) = results
    torch.testing.assert_close(compiled, expected, rtol=1e-5, atol=1e-6)
    assert compiled.abs().max() > 0
    if values is not None:
        torch.testing.assert_close(compiled_values, expected_values, rtol=1e-5, atol=1e-6)
    assert metrics == pytest.approx(expected_metrics, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("deduplicate", [True, False])
def test_the_compiled_loss_is_the_one_of_torch(sampled, name, deduplicate):
    assert_equal_losses(sampled, VARIANTS[name], deduplicate)


@pytest.mark.parametrize("masked", [torch.finfo(torch.float32).min, -1e3], ids=["lowest", "low"])
def test_the_compiled_loss_takes_masked_actions(sampled, masked):
    module, batch = sampled
    taken = batch.actions.clone().clamp(0, 3)  # nobody may take the last
    acted = batch.action_dist_inputs.clone()
    acted[:, 4] = masked
    batch = dataclasses.replace(batch, actions=taken, action_dist_inputs=acted)

    def mask(inputs):
        inputs[:, 4] = masked
        return inputs

    settings = dataclasses.replace(PLAIN, entropy_coeff=0.1)
    assert_equal_losses((module, batch), settings, True, mask)


@pytest.mark.parametrize("kind", [CategoricalLoss, TorchLoss])
def test_the_divergence_is_finite_where_probabilities_are_not(sampled, kind):
    """As in long trainings, whose policies come to be sure of what they do."""
    module, batch = sampled
    acted = torch.randn(len(batch), 5, generator=torch.manual_seed(4))
    acted[:, 4] -= 95.0  # a number of its type, if no normal one
    batch = dataclasses.replace(batch, action_dist_inputs=acted)
    minibatch = plan_update(batch, np.arange(len(batch))[None], False).minibatches[0]
    inputs = acted[minibatch.rows].clone()
    inputs[:, :4] += torch.randn(len(inputs), 4)
    inputs[:, 4] -= 25.0  # zero, for its type
    assert (inputs.softmax(dim=1)[:, 4] == 0).all()
    loss = kind(PLAIN, batch) if kind is CategoricalLoss else kind(module, PLAIN, batch)

    gradients, _, metrics = outcome(loss, minibatch, inputs, torch.zeros(len(inputs)))

    old, new = acted[minibatch.rows].double(), inputs.double()
    exact = (old.softmax(1) * (old.log_softmax(1) - new.log_softmax(1))).sum(1).mean()
    assert metrics["mean_kl_loss"] == pytest.approx(float(exact), rel=1e-5)
    assert np.isfinite(metrics["total_loss"])
    assert torch.isfinite(gradients).all()


@pytest.mark.parametrize("kind", [CategoricalLoss, TorchLoss])
def test_a_minibatch_of_artificial_rows_only_teaches_nothing(sampled, kind):
    module, batch = sampled
    artificial = np.flatnonzero(~batch.is_step)
    steps = np.flatnonzero(batch.is_step)[: len(artificial)]
    minibatch = plan_update(batch, np.stack([artificial, steps]), True).minibatches[0]
    loss = kind(PLAIN, batch) if kind is CategoricalLoss else kind(module, PLAIN, batch)
    inputs, _, _ = outcome(loss, minibatch, torch.zeros(0, 5), torch.zeros(0))
    assert inputs.shape == (0, 5)
