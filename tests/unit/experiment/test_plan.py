"""What can be known, and refused, of an experiment before Ray starts."""

from __future__ import annotations

import sys
import types
from dataclasses import replace

import pytest
import ray
from ray.rllib.core.rl_module.torch import TorchRLModule

from empo_rllib.algorithms.builder import build_algorithm_config
from empo_rllib.algorithms.setup import open_env, set_up_trial
from empo_rllib.errors import CheckpointError, ConfigError, EnvError, RunError
from empo_rllib.experiment import plan as plan_module
from empo_rllib.experiment.plan import (
    PlannedTrial,
    describe_networks,
    describe_samplers,
    num_gpus_per_learner,
    plan_resumed_trials,
    plan_trials,
    trial_resources,
)
from empo_rllib.trials import sample_trials

AGENTS = ("agent_0", "agent_1")
GRID = {"name": "PPO", "params": {"lr": {"grid_search": [1e-3, 1e-4]}}}


@pytest.fixture(autouse=True)
def _no_ray():
    yield
    assert not ray.is_initialized()


# The trials


def test_each_trial_has_its_own_experiment_and_rllib_config(experiment):
    planned = plan_trials(experiment(algorithm=GRID, seed=3, tune={"num_samples": 2}))
    assert [p.spec.trial_id for p in planned] == [f"trial_{number:05d}" for number in range(4)]
    assert [p.setup.config.seed for p in planned] == [3, 3, 4, 4]
    configs = [build_algorithm_config(p.setup) for p in planned]
    assert [config.lr for config in configs] == [1e-3, 1e-4, 1e-3, 1e-4]
    assert [config.seed for config in configs] == [3, 3, 4, 4]


def test_a_trial_asks_for_what_the_largest_of_them_needs(experiment):
    config = experiment(resources={"num_env_runners": 3})
    small, large = plan_trials(experiment()), plan_trials(config)
    assert trial_resources([*small, *large], 0.0) == {"CPU": 4}
    assert trial_resources(small, 1.0) == {"CPU": 1, "GPU": 1}


def test_each_environment_is_made_once_for_all_trials_that_train_in_it(experiment, monkeypatch):
    made = []
    monkeypatch.setattr(plan_module, "open_env", lambda env: made.append(env) or open_env(env))
    grid = {"id": "CartPole-v1", "kwargs": {"sutton_barto_reward": {"grid_search": [True, False]}}}
    planned = plan_trials(experiment(env=grid, algorithm=GRID))
    assert [env.kwargs["sutton_barto_reward"] for env in made] == [True, False]
    assert [p.setup.config.env for p in planned] == [made[0], made[0], made[1], made[1]]


def test_each_algorithm_has_its_own_sampler_and_resources(experiment):
    algorithm = {"name": {"grid_search": ["PPO", "DQN", "APPO"]}, "params": {"lr": 1e-3}}
    planned = plan_trials(experiment(algorithm=algorithm))
    assert [p.setup.sampler.name for p in planned] == ["batched", "rllib", "rllib"]
    assert [build_algorithm_config(p.setup).algo_class.__name__ for p in planned] == [
        *("PPO", "DQN", "APPO")
    ]
    assert describe_samplers(planned) == (
        "batched, rllib",
        "MultiGrid with known step rules; the faster samplers train PPO, not DQN; the faster "
        "samplers train PPO, not APPO",
    )


def test_a_network_that_kernels_do_not_train_is_told_with_the_reason(experiment):
    algorithm = {"name": {"grid_search": ["PPO", "DQN"]}, "params": {"lr": 1e-3}}
    planned = plan_trials(experiment(algorithm=algorithm))
    assert describe_networks(planned[:1], 0) == dict.fromkeys(AGENTS, "compiled kernels")
    assert describe_networks(planned[:1], 1) == dict.fromkeys(
        AGENTS, "torch (the learner has a GPU)"
    )
    assert describe_networks(planned, 0) == dict.fromkeys(
        AGENTS, "compiled kernels; torch (RLlib's own learner)"
    )
    overrides = {"algorithm_config_overrides_per_module": {"agent_1": {"use_critic": False}}}
    (trial,) = plan_trials(experiment(algorithm={"name": "PPO", "params": overrides}))
    assert trial.why_torch == {"agent_0": None, "agent_1": "use_critic is off"}
    (normed,) = plan_trials(experiment(model={"value_norm": True}))
    assert set(normed.why_torch.values()) == {
        "the network has value_norm beside its actor and critic"
    }


def test_a_network_setting_that_one_of_the_algorithms_ignores_is_refused(experiment):
    algorithm = {"name": {"grid_search": ["PPO", "DQN"]}}
    with pytest.raises(ConfigError, match="has no effect: DQN"):
        plan_trials(experiment(algorithm=algorithm, model={"shared_trunk": True}))


def test_a_metric_of_a_policy_that_there_is_not_is_refused(experiment):
    config = experiment(tune={"metric": "policy_return_mean/walker"})
    with pytest.raises(ConfigError, match="there are only agent_0, agent_1"):
        plan_trials(config)


def test_the_second_trial_of_a_sweep_is_checked_too(experiment):
    params = {"n_step": {"grid_search": [1, 3]}, "rollout_fragment_length": 2}
    with pytest.raises(ConfigError, match=r"RLlib refuses these settings.*n_step"):
        plan_trials(experiment(algorithm={"name": "DQN", "params": params}))


def test_a_network_that_cannot_be_built_is_refused(experiment, monkeypatch):
    class Broken(TorchRLModule):
        def setup(self):
            raise RuntimeError("the bricks are missing")

    monkeypatch.setitem(sys.modules, "own_code", types.ModuleType("own_code"))
    sys.modules["own_code"].Broken = Broken
    with pytest.raises(ConfigError, match="the network of policy 'agent_0' cannot be built"):
        plan_trials(experiment(model={"class": "own_code:Broken"}))


@pytest.mark.parametrize(
    "path",
    ["ray.rllib.core.rl_module:RLModule", "ray.rllib.core.rl_module.torch:TorchRLModule"],
)
def test_a_network_without_what_training_calls_is_refused(experiment, path):
    with pytest.raises(ConfigError, match=f"model.class = {path!r} computes nothing"):
        plan_trials(experiment(model={"class": path}))


def test_a_network_without_values_is_refused_where_they_are_needed(experiment, monkeypatch):
    class Policy(TorchRLModule):
        def _forward(self, batch, **kwargs):
            return {}

    monkeypatch.setitem(sys.modules, "own_code", types.ModuleType("own_code"))
    sys.modules["own_code"].Policy = Policy
    with pytest.raises(ConfigError, match="has no compute_values, which PPO calls"):
        plan_trials(experiment(model={"class": "own_code:Policy"}))


@pytest.mark.parametrize(
    ("id", "reason"),
    [
        ("gymnasium:Env", "the environment has no observation_space for 'agent_0'"),
        (
            "ray.rllib.env.multi_agent_env:MultiAgentEnv",
            "must list all agents it may ever have in possible_agents",
        ),
    ],
)
def test_an_environment_without_spaces_is_refused(experiment, id, reason):
    with pytest.raises(EnvError, match=reason):
        plan_trials(experiment(env={"id": id}))


def test_resumed_trials_are_those_of_the_summary_not_drawn_anew(experiment, result, trial):
    config = experiment(algorithm={"name": "PPO", "params": {"lr": {"uniform": [0.1, 0.2]}}})
    drawn = {"algorithm.params.lr": 0.123}
    (planned,) = plan_resumed_trials(config, result(trial(0, params=drawn, seed=9)))
    assert planned.setup.config.algorithm.params["lr"] == 0.123
    assert planned.setup.config.seed == 9


# Policies that start from a checkpoint


def starting_from(source):
    return {"agent_0": {"policy": "a", "checkpoint": source}, "agent_1": "b"}


def test_a_checkpoint_that_is_not_there_is_refused(experiment):
    with pytest.raises(RunError, match="no such folder"):
        plan_trials(experiment(name="new", policies=starting_from("results/nothing")))


def test_weights_of_another_network_are_refused(experiment, run_folder):
    run_folder()
    config = experiment(name="new", policies=starting_from("results/run#agent_1"))
    with pytest.raises(CheckpointError, match=r"policies: 'a' from .*results/run#agent_1"):
        plan_trials(config)


def test_the_path_of_a_checkpoint_holds_in_the_trials_own_process(
    experiment, result, trial, tmp_path
):
    config = experiment(policies=starting_from("results/../results/other#agent_1"))
    (planned,) = plan_resumed_trials(config, result(trial(0)))
    absolute = f"{tmp_path}/results/other#agent_1"
    assert planned.setup.policies["a"].checkpoint == absolute
    assert planned.setup.config.to_dict()["policies"]["agent_0"]["checkpoint"] == absolute
    assert planned.setup.policies["b"].checkpoint is None


# GPUs


@pytest.mark.parametrize(
    ("asked", "num_learners", "gpus", "expected"),
    [
        ("auto", 0, 0, 0.0),
        ("auto", 0, 1, 1.0),
        ("auto", 0, 8, 1.0),
        ("auto", 2, 2, 1.0),
        ("auto", 2, 1, 0.0),
        (0, 0, 4, 0.0),
        (0.5, 0, 0, 0.5),
        (2, 1, 4, 2.0),
    ],
)
def test_auto_takes_a_gpu_for_each_learner_where_there_are_enough(
    experiment, asked, num_learners, gpus, expected
):
    config = experiment(resources={"num_gpus_per_learner": asked, "num_learners": num_learners})
    (trial,) = _plan_without_networks(config)
    available = {"CPU": 8.0, "GPU": float(gpus)}
    assert num_gpus_per_learner(config, [trial], available) == expected
    if asked == "auto":
        small = replace(trial, gains_by_gpu=False)
        assert num_gpus_per_learner(config, [small], available) == 0.0
        assert num_gpus_per_learner(config, [small, trial], available) == expected


@pytest.mark.parametrize(
    ("changes", "gains"),
    [
        ({}, False),
        ({"model": {"hidden_sizes": [512, 512]}}, False),  # 64 rows
        ({"model": {"hidden_sizes": [2048, 2048]}}, True),
        (
            {
                "model": {"hidden_sizes": [512, 512]},
                "algorithm": {
                    "name": "PPO",
                    "params": {"minibatch_size": 2048, "train_batch_size_per_learner": 4096},
                },
            },
            True,
        ),
        ({"model": {"memory": "lstm"}}, True),
        ({"algorithm": {"name": "DQN"}}, False),
    ],
)
def test_wide_layers_large_minibatches_and_a_memory_gain_by_a_gpu(experiment, changes, gains):
    (trial,) = plan_trials(experiment(**changes))
    assert trial.gains_by_gpu is gains


def test_convolutions_gain_by_a_gpu(experiment):
    config = experiment(env={"id": "pettingzoo.butterfly.pistonball_v6", "num_agents": None})
    (trial,) = plan_trials(config)
    assert trial.gains_by_gpu


def test_a_cluster_without_any_gpu_entry_has_none(experiment):
    config = experiment()
    assert num_gpus_per_learner(config, _plan_without_networks(config), {"CPU": 8.0}) == 0.0


def _plan_without_networks(config):
    return [PlannedTrial(spec, set_up_trial(config)) for spec in sample_trials(config)]
