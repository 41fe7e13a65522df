"""NaN or infinity in losses and weights ends a trial, and in what was not measured does not."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from ray.rllib.utils.actor_manager import RemoteCallResults, ResultOrError
from ray.rllib.utils.metrics.metrics_logger import MetricsLogger
from torch import nn

from empo_rllib.errors import TrialError
from empo_rllib.experiment.finite import broken_losses, broken_weights, check_training

GOOD = {"num_module_steps_trained": 100, "total_loss": 0.5, "vf_loss": -1.0}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.actor = nn.Linear(2, 2)
        self.register_buffer("mask", torch.tensor([0.0, -math.inf]))  # of a user's, on purpose

    def unwrapped(self):
        return self


@pytest.fixture
def nets():
    return {"one": Net(), "two": Net()}


@pytest.fixture
def algorithm(nets):
    """Stands in for an Algorithm with two learners."""

    def foreach_learner(function):
        results = RemoteCallResults()
        for learner in range(2):
            answer = function(SimpleNamespace(module=nets))
            results.add_result(learner, ResultOrError(answer), None)
        return results

    return SimpleNamespace(learner_group=SimpleNamespace(foreach_learner=foreach_learner))


def result(**policies):
    return {"learners": {"__all_modules__": {}, **policies}}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_found(number):
    found = broken_losses(result(one=GOOD, two={**GOOD, "qf_loss": torch.tensor(number)}))
    assert found == [f"policy two learned with qf_loss = {number}"]


@pytest.mark.parametrize(
    "stats",
    [
        {},
        GOOD,
        {**GOOD, "vf_explained_var": math.nan, "mean_kl": math.inf},
        {"total_loss": math.nan},
        {"total_loss": math.nan, "num_module_steps_trained": math.nan},
        {"total_loss": math.nan, "num_module_steps_trained": 0},
    ],
)
def test_numbers_that_were_not_measured_or_may_be_nan_are_let_pass(stats):
    assert broken_losses(result(one=stats)) == []
    assert broken_losses({}) == []


def test_rllib_tells_apart_what_was_not_measured_and_what_is_nan():
    """Two iterations: without an update, and with one whose loss is NaN."""
    learner, whole = MetricsLogger(root=False), MetricsLogger(root=True)

    def iterate(*losses):
        for loss in losses:
            learner.log_value(("one", "total_loss"), loss, window=1)
            learner.log_value(("one", "num_module_steps_trained"), 30, reduce="sum")
        whole.aggregate([learner.reduce()], key="learners")
        return broken_losses(whole.reduce(compile=True))

    assert iterate(0.5) == []
    assert iterate() == []
    assert iterate(0.5, math.nan) == ["policy one learned with total_loss = nan"]


def test_weights_that_are_not_finite_are_found_and_buffers_are_the_networks_own(algorithm, nets):
    assert broken_weights(algorithm) == []
    nets["two"].actor.weight.data[0, 1] = math.inf
    nets["two"].actor.bias.data[0] = math.nan
    found = ["2 parameters of policy two are not finite (actor.weight)"]
    assert broken_weights(algorithm) == found


@pytest.mark.parametrize(
    ("saved_iteration", "saved"), [(0, "does not exist yet"), (20, "is from iteration 20")]
)
def test_the_message_says_which_policy_what_when_and_what_to_do(
    algorithm, nets, saved_iteration, saved
):
    check_training(result(one=GOOD), algorithm, 24, saved_iteration)
    nets["one"].actor.bias.data[0] = math.nan
    with pytest.raises(TrialError) as raised:
        check_training(result(one={**GOOD, "total_loss": math.nan}), algorithm, 25, saved_iteration)
    assert str(raised.value) == (
        "training iteration 25: policy one learned with total_loss = nan; 1 parameters of policy "
        f"one are not finite (actor.bias). The last checkpoint {saved}. Start a new run with a "
        "lower algorithm.params.lr, with algorithm.params.grad_clip, or with smaller rewards."
    )
