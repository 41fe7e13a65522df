"""`algorithm.params`: what RLlib accepts passes, what it does not is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.params import (
    check_params,
    check_params_of_all,
    known_params,
    normalize_params,
    params_by_method,
)


def rules(algorithm: str, **params: Any) -> str:
    return "\n".join(
        f"{'.'.join(problem.path)} = {problem.value}{problem.rule}"
        for problem in check_params(algorithm, params)
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_rllibs_own_defaults_are_accepted(algorithm: str) -> None:
    for name, param in known_params(algorithm).items():
        if param.default is not None:
            assert rules(algorithm, **{name: param.default}) == ""


@pytest.mark.parametrize(
    ("algorithm", "params"),
    [
        ("PPO", {"lr": [[0, 1e-3], [100_000, 0.0]]}),
        ("PPO", {"entropy_coeff": [[0, 0.01], [100_000, 0.0]]}),
        ("PPO", {"lr": 1}),
        ("PPO", {"minibatch_size": None, "train_batch_size_per_learner": 100}),
        ("PPO", {"grad_clip": None}),
        ("PPO", {"grad_clip": 0.5, "grad_clip_by": "norm"}),
        ("PPO", {"rollout_fragment_length": "auto"}),
        ("PPO", {"rollout_fragment_length": 200}),
        ("PPO", {"custom_resources_per_env_runner": {"big": 1}}),
        ("DQN", {"epsilon": [[0, 1.0], [10_000, 0.05]], "n_step": [1, 3]}),
        ("DQN", {"replay_buffer_config": {"capacity": {"choice": [1000, 2000]}}}),
        ("SAC", {"target_entropy": "auto"}),
        ("SAC", {"target_entropy": -1.5}),
        ("PPO", {"lr": {"loguniform": [1e-5, 1e-3]}, "num_epochs": {"randint": [1, 10]}}),
        ("PPO", {"use_kl_loss": {"grid_search": [True, False]}}),
    ],
)
def test_what_rllib_accepts_passes(algorithm: str, params: dict[str, Any]) -> None:
    assert rules(algorithm, **params) == ""


@pytest.mark.parametrize(
    ("algorithm", "params", "part"),
    [
        ("PPO", {"lrr": 1}, "unknown key: PPO has no such parameter. Did you mean 'lr'?"),
        ("PPO", {"lambda": 1}, "use lambda_"),
        ("PPO", {"n_step": 3}, "unknown key: PPO"),
        ("PPO", {"_train_batch_size_per_learner": 3}, "'train_batch_size_per_learner'"),
        ("PPO", {"num_sgd_iter": 3}, "use num_epochs"),
        ("PPO", {"train_batch_size": 3}, "use train_batch_size_per_learner"),
        ("PPO", {"lr_schedule": [[0, 1]]}, "as lr: "),
        ("PPO", {"num_env_runners": 3}, "use resources.num_env_runners"),
        ("PPO", {"env": "x"}, "use env.id"),
        ("PPO", {"framework": "tf2"}, "always torch"),
        ("PPO", {"evaluation_parallel_to_training": True}, "the top-level key evaluation"),
        ("PPO", {"learner_class": "x"}, "a Python object"),
        ("SAC", {"lr": 1e-4}, "use actor_lr, critic_lr and alpha_lr"),
        ("PPO", {"lr": "fast"}, "must be a number or a schedule"),
        ("PPO", {"lr": 0}, "greater than 0"),
        ("PPO", {"lr": -1e-4}, "greater than 0"),
        ("PPO", {"lr": float("nan")}, "must be a number"),
        ("PPO", {"num_epochs": 10**400}, "must be an integer"),
        ("PPO", {"lr": True}, "must be a number"),
        ("PPO", {"lr": None}, "must be a number"),
        ("PPO", {"lr": [[0, 1e-3]]}, "a schedule"),
        ("PPO", {"lr": [[5, 1e-3], [9, 1e-4]]}, "a schedule"),
        ("PPO", {"lr": [[0, 1e-3], [9, -1.0]]}, "greater than 0"),
        ("PPO", {"gamma": 1.1}, "between 0 and 1"),
        ("PPO", {"lambda_": -0.1}, "between 0 and 1"),
        ("PPO", {"clip_param": 0}, "greater than 0"),
        ("PPO", {"num_epochs": 0}, "at least 1"),
        ("PPO", {"num_epochs": 2.5}, "must be an integer"),
        ("PPO", {"train_batch_size_per_learner": 0}, "at least 1"),
        ("PPO", {"use_gae": "yes"}, "true or false"),
        ("PPO", {"grad_clip_by": "nrm"}, "Did you mean 'norm'?"),
        ("PPO", {"rollout_fragment_length": "atuo"}, "Did you mean 'auto'?"),
        ("DQN", {"tau": 0}, "greater than 0 and at most 1"),
        ("DQN", {"n_step": [1, "x"]}, "at least 1"),
        ("PPO", {"lr": {"choice": [1e-4, -1]}}, "lr = -1 must be greater than 0"),
        ("PPO", {"gamma": {"uniform": [0.9, 1.5]}}, "gamma = 1.5 must be between 0 and 1"),
        ("PPO", {"num_epochs": {"randint": [0, 4]}}, "num_epochs = 0 must be at least 1"),
        ("PPO", {"num_epochs": {"uniform": [1, 4]}}, "use randint or choice"),
        ("PPO", {"lr": {"grid_search": []}}, "at least one option"),
        (
            "DQN",
            {"replay_buffer_config": {"alpha": {"uniform": [1]}}},
            "replay_buffer_config.alpha = {'uniform': [1]} needs two numbers",
        ),
    ],
)
def test_what_rllib_would_not_accept_is_refused(
    algorithm: str, params: dict[str, Any], part: str
) -> None:
    assert part in rules(algorithm, **params)


@pytest.mark.parametrize(
    ("params", "part"),
    [
        (
            {"minibatch_size": 8192, "train_batch_size_per_learner": 4000},
            "minibatch_size = 8192 exceeds train_batch_size_per_learner = 4000.",
        ),
        ({"minibatch_size": 8192}, "exceeds train_batch_size_per_learner = 4000."),
        ({"train_batch_size_per_learner": 64}, "minibatch_size = 128 (RLlib's default) exceeds"),
        (
            {
                "minibatch_size": {"choice": [64, 512]},
                "train_batch_size_per_learner": {"grid_search": [256, 1024]},
            },
            "minibatch_size = 512 exceeds train_batch_size_per_learner = 256.",
        ),
    ],
)
def test_a_minibatch_larger_than_its_batch_is_refused(params: dict[str, Any], part: str) -> None:
    message = rules("PPO", **params)
    assert part in message
    assert "Lower the first or raise the second." in message


OVERRIDES = "algorithm_config_overrides_per_module"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_may_differ_by_policy_is_a_parameter_of_its_algorithm(algorithm: str) -> None:
    row = ALGORITHMS[algorithm]
    assert row.by_policy | row.by_policy_in_fragments <= known_params(algorithm).keys()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_parameter_may_differ_by_policy_or_is_refused_by_name(algorithm: str) -> None:
    row = ALGORITHMS[algorithm]
    for name, param in known_params(algorithm).items():
        value = {"clip_param": 0.1, "lr": 1e-3}.get(name, param.default)
        message = rules(algorithm, **{OVERRIDES: {"a": {name: value}}})
        may_differ = name in row.by_policy | row.by_policy_in_fragments
        refused = f"{OVERRIDES}.a.{name} = {value} cannot differ by policy: {algorithm} has one"
        assert (refused in message) is not may_differ


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        ({"a": {"gama": 0.1}}, ".a.gama = 0.1 is an unknown key: PPO has no such parameter. Did"),
        ({"a": {"gamma": 1.1}}, ".a.gamma = 1.1 must be between 0 and 1."),
        ({"a": {"lr": {"choice": [1e-3, -1]}}}, ".a.lr = -1 must be greater than 0."),
        ({"a": {"num_sgd_iter": 3}}, ".a.num_sgd_iter = 3 is not accepted here: use num_epochs."),
        ({"a": 0.1}, ".a = 0.1 must be a mapping of parameters to values."),
        ({"grid_search": [{"a": {"lr": 0}}, {}]}, ".a.lr = 0 must be greater than 0."),
        ({"a": {"choice": [{"lr": 1}, {"lr": 0}]}}, ".a.lr = 0 must be greater than 0."),
    ],
)
def test_parameters_of_single_policies_follow_the_same_rules(
    overrides: dict[str, Any], part: str
) -> None:
    assert f"{OVERRIDES}{part}" in rules("PPO", **{OVERRIDES: overrides})


def test_parameters_of_single_policies_may_be_search_spaces_and_schedules() -> None:
    params = {"lr": [[0, 1e-3], [1000, 0.0]], "gamma": {"uniform": [0.9, 0.99]}, "grad_clip": None}
    assert rules("PPO", **{OVERRIDES: {"a": params}}) == ""


def test_params_are_grouped_by_the_method_that_takes_them() -> None:
    params = {"lr": 1e-4, "gamma": 0.9, "rollout_fragment_length": 10, "log_gradients": True}
    assert params_by_method("PPO", params) == {
        "training": {"lr": 1e-4, "gamma": 0.9},
        "env_runners": {"rollout_fragment_length": 10},
        "reporting": {"log_gradients": True},
    }


# Several algorithms in one file


def rules_of_all(*algorithms: str, **params: Any) -> list[str]:
    problems = check_params_of_all(algorithms, params)
    return [f"{'.'.join(one.path)} = {one.value}{one.rule}" for one in problems]


def test_parameters_that_all_algorithms_have_are_accepted() -> None:
    assert rules_of_all("PPO", "APPO", lr=1e-3, clip_param=0.2, num_epochs=2) == []
    assert rules_of_all("PPO", "DQN", lr={"loguniform": [1e-4, 1e-3]}, gamma=0.9) == []


def test_a_parameter_of_some_algorithms_is_refused_with_their_names() -> None:
    assert rules_of_all("PPO", "DQN", "APPO", "SAC", clip_param=0.2, gamma=0.9) == [
        "clip_param = 0.2 is a parameter of PPO, APPO and not of DQN, SAC, and algorithm.name may "
        "be all of them.\n    Remove it, use a file for each algorithm, or give it a search space "
        "with when: {algorithm.name: PPO}."
    ]


def test_a_value_that_one_algorithm_refuses_is_refused_with_its_name() -> None:
    (problem,) = rules_of_all("PPO", "APPO", train_batch_size_per_learner=64)
    assert problem.startswith("minibatch_size = 128 (RLlib's default) exceeds")
    assert problem.endswith("\n    This is a rule for PPO.")


@pytest.mark.parametrize("params", [{"lrr": 1}, {"lr": -1}])
def test_of_a_mistake_for_all_algorithms_nothing_more_is_told(params: dict[str, Any]) -> None:
    found = rules_of_all("PPO", "APPO", **params)
    assert found[0] == rules("PPO", **params)
    assert "This is a rule for" not in found[0]


def test_a_number_becomes_an_integer_only_where_no_algorithm_takes_a_fraction() -> None:
    found = normalize_params(["PPO", "APPO"], {"num_epochs": 4.0, "lr": 1.0})
    assert [type(value) for value in found.values()] == [int, float]
