"""`algorithm_config_overrides_per_module`: what would have no effect in a trial is refused."""

from __future__ import annotations

import pytest

from empo_rllib.algorithms.overrides import check_overrides
from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.errors import ConfigError

FROZEN = {
    "agent_0": {"policy": "agent_0", "train": False},
    "*": {"policy": "others"},
}


def check(build, algorithm="PPO", policies="independent", sampler="auto", params=None, **overrides):
    params = {"algorithm_config_overrides_per_module": overrides, **(params or {})}
    resources = {"sampler": sampler}
    check_overrides(set_up_trial(build(algorithm, params, policies=policies, resources=resources)))


def test_every_parameter_of_a_trained_policy_passes(experiment):
    check(experiment, agent_0={"gamma": 0.1, "lambda_": 0.5, "lr": 1e-3}, agent_2={})


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            {"agent0": {"lr": 1}},
            r"per_module.agent0: there is no policy of this name. Did you mean 'agent_0'\? "
            "The policies are agent_0, agent_1, agent_2.",
        ),
        (
            {"policies": "shared", "agent_0": {"lr": 1}},
            "agent_0: there is no policy of this name. The policies are shared.",
        ),
        (
            {"policies": FROZEN, "agent_0": {"lr": 1}},
            "agent_0: this policy is not trained",
        ),
        (
            {"sampler": "rllib", "agent_0": {"gamma": 0.1}},
            r"agent_0.gamma = 0.1 cannot differ .* is rllib \(as asked for\)",
        ),
        (
            {"params": {"batch_mode": "complete_episodes"}, "agent_0": {"lambda_": 0.1}},
            r"lambda_ = 0.1 cannot differ by policy .*batch_mode = .*own PPO has one value",
        ),
        (
            {"algorithm": "DQN", "params": {"n_step": 3}, "agent_0": {"gamma": 0.1}},
            "gamma = 0.1 cannot differ by policy with algorithm.params.n_step = 3",
        ),
    ],
)
def test_a_parameter_without_effect_is_refused(experiment, kwargs, message):
    with pytest.raises(ConfigError, match=message):
        check(experiment, **kwargs)


def test_algorithms_whose_losses_discount_take_a_gamma_for_each_policy(experiment):
    for algorithm in ("APPO", "IMPALA", "DQN", "SAC", "TQC"):
        check(experiment, algorithm, agent_0={"gamma": 0.1})
