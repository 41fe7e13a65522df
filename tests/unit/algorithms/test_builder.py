"""Every part of an experiment arrives at its place in RLlib's config."""

from __future__ import annotations

import pytest
import ray
from gymnasium import spaces
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core.rl_module.torch import TorchRLModule

from empo_rllib.algorithms.builder import (
    ENV_NAME,
    build_algorithm_config,
    changed_settings,
    required_resources,
)
from empo_rllib.algorithms.callbacks import EpisodeMetrics
from empo_rllib.algorithms.networks import build_rl_modules
from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.envs.env_errors import ReportingEnv, raise_env_error
from empo_rllib.errors import ConfigError, TrialError
from empo_rllib.rl_modules.actor_critic import ActorCritic, ActorCriticWithTarget

ACTOR_CRITICS = {"PPO": ActorCritic, "APPO": ActorCriticWithTarget, "IMPALA": ActorCritic}
LEARNING_RATE = {"SAC": "actor_lr", "TQC": "actor_lr"}


@pytest.fixture
def build(experiment):
    """Returns a function from the arguments of `experiment` to RLlib's config."""

    def build_config(*args, num_gpus_per_learner=0, **kwargs):
        config = experiment(*args, **kwargs)
        return build_algorithm_config(set_up_trial(config), num_gpus_per_learner)

    return build_config


@pytest.fixture
def modules(experiment):
    """Returns a function from the arguments of `experiment` to the networks of its policies."""

    def build_modules(*args, **kwargs):
        config = experiment(*args, **kwargs)
        setup = set_up_trial(config)
        return build_rl_modules(build_algorithm_config(setup), setup.policies)

    return build_modules


@pytest.fixture(autouse=True)
def _no_ray():
    yield
    assert not ray.is_initialized()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_parameters_and_resources_arrive_where_they_belong(build, algorithm):
    rate = LEARNING_RATE.get(algorithm, "lr")
    config = build(
        algorithm,
        params={rate: 0.0123, "gamma": 0.5, "explore": False, "sample_timeout_s": 7.0},
        resources={"num_env_runners": 2, "num_envs_per_env_runner": 3, "num_learners": 1},
        seed=11,
    )
    assert type(config).__name__ == f"{algorithm}Config"
    assert getattr(config, rate) == 0.0123
    assert config.gamma == 0.5
    assert config.explore is False
    assert config.sample_timeout_s == 7.0
    assert (config.num_env_runners, config.num_envs_per_env_runner) == (2, 3)
    assert config.num_learners == 1
    assert config.seed == 11
    assert config.env.startswith(ENV_NAME)
    assert config.enable_rl_module_and_learner


def test_trials_that_differ_have_environments_of_their_own(build):
    # Ray's registry is common to all trials of a run, which may run at the same time.
    agents = ("agent_0", "agent_1", "agent_0")
    names = [build(env={"wide_agent": agent}).env for agent in agents]
    assert names[0] == names[2] != names[1]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_has_a_network_for_each_policy(modules, algorithm):
    networks = modules(algorithm, policies={"agent_0": "a", "*": "b"}, model={"hidden_sizes": [5]})
    assert list(networks) == ["a", "b"]
    for network in networks.values():
        if algorithm in ACTOR_CRITICS:
            assert type(network) is ACTOR_CRITICS[algorithm]
        shapes = {tuple(parameter.shape) for parameter in network.parameters()}
        assert any(shape[0] == 5 for shape in shapes), "no layer has the size asked for"


def test_the_sizes_of_the_model_reach_the_default_network(modules):
    networks = modules(model={"hidden_sizes": [6, 4], "shared_trunk": True})
    assert networks["agent_0"].critic_encoder is None
    assert networks["agent_0"].encoder.num_features == 4


def test_the_sizes_of_the_model_reach_rllibs_own_networks(build):
    config = build("DQN", model={"hidden_sizes": [6, 4]})
    assert config.model_config["fcnet_hiddens"] == [6, 4]


@pytest.mark.parametrize("algorithm", ["DQN", "SAC"])
@pytest.mark.parametrize("params", [{}, {"replay_buffer_config": {"capacity": 777}}])
def test_the_replay_buffer_holds_several_agents_unless_told_otherwise(build, algorithm, params):
    buffer = build(algorithm, params=params).replay_buffer_config
    assert buffer["type"] == "MultiAgentPrioritizedEpisodeReplayBuffer"
    assert buffer["capacity"] == (777 if params else 50_000)
    assert {"alpha", "beta"} <= buffer.keys()


# Policies


def test_each_agent_is_mapped_to_its_policy(build):
    config = build(policies={"agent_1": "leader", "*": "follower"})
    mapped = [config.policy_mapping_fn(f"agent_{i}", episode=None) for i in range(3)]
    assert mapped == ["follower", "leader", "follower"]
    assert set(config.policies) == {"leader", "follower"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_frozen_policy_is_not_trained(build, algorithm):
    frozen = {"policy": "fixed", "train": False}
    config = build(algorithm, policies={"agent_0": frozen, "*": "learning"})
    assert config.policies_to_train == ["learning"]


# Evaluation


def test_evaluation_is_greedy_only_for_dqn_whose_policy_is_not_stochastic(build):
    explores = {
        name: build(name, evaluation={"interval": 1}).get_evaluation_config_object().explore
        for name in ("PPO", "DQN")
    }
    assert explores == {"PPO": True, "DQN": False}


@pytest.mark.parametrize(("sampler", "num_envs"), [("rllib", 1), ("python", 40)])
def test_evaluation_plays_whole_episodes_and_favours_no_short_ones(build, sampler, num_envs):
    # RLlib's own env runner takes the first that end; ours plays one in each env.
    resources = {"sampler": sampler}
    config = build(evaluation={"interval": 4, "num_episodes": 7}, resources=resources)
    assert config.evaluation_interval == 4
    assert (config.evaluation_duration, config.evaluation_duration_unit) == (7, "episodes")
    evaluation = config.get_evaluation_config_object()
    assert evaluation.num_envs_per_env_runner == num_envs
    assert config.explore is True


def test_without_an_interval_there_is_no_evaluation(build):
    assert build(evaluation={"interval": 0}).evaluation_interval is None


# Callbacks and classes of the user


def test_callbacks_of_the_user_come_after_our_own(build, own_code):
    own_code.Mine = type("Mine", (RLlibCallback,), {})
    assert build(callbacks=["own_code:Mine"]).callbacks_class == [EpisodeMetrics, own_code.Mine]


def test_a_class_of_the_user_is_built_with_our_sizes_and_its_own_arguments(modules, own_code):
    class Mine(TorchRLModule):
        pass

    own_code.Mine = Mine
    networks = modules(
        "DQN", model={"class": "own_code:Mine", "hidden_sizes": [3], "kwargs": {"depth": 2}}
    )
    network = networks["agent_0"]
    assert type(network) is Mine
    assert network.model_config["hidden_sizes"] == [3]
    assert network.model_config["depth"] == 2
    assert network.observation_space == spaces.Box(0.0, 9.0, (2,))


@pytest.mark.parametrize("place", ["algorithm.callbacks", "model.class"])
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("no_such_package.module:Mine", "No module named 'no_such_package'"),
        ("own_code:Missing", "has no attribute 'Missing'"),
        ("numpy:ndarray", "is not a subclass of ray.rllib."),
        ("numpy:array", "is not a subclass of ray.rllib."),
        ("idlelib.idle:main", "belongs to Python's own library"),
        ("broken_code:Mine", "SyntaxError"),
    ],
)
def test_a_class_that_cannot_be_used_is_refused_at_its_place(
    build, tmp_path, monkeypatch, place, path, reason
):
    (tmp_path / "broken_code.py").write_text("class Mine(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    sections = (
        {"callbacks": [path]} if place == "algorithm.callbacks" else {"model": {"class": path}}
    )
    with pytest.raises(ConfigError) as raised:
        build(**sections)
    assert str(raised.value).startswith(f"{place} = {path!r}")
    assert reason in str(raised.value)


def test_a_network_that_cannot_be_built_is_refused_with_its_policy(modules, own_code):
    class Mine(TorchRLModule):
        def setup(self):
            raise RuntimeError("the bricks are missing")

    own_code.Mine = Mine
    with pytest.raises(ConfigError) as raised:
        modules(model={"class": "own_code:Mine"})
    assert str(raised.value) == (
        "model: the network of policy 'agent_0' cannot be built: the bricks are missing"
    )


# What RLlib says


def test_what_rllib_refuses_is_a_readable_error(build):
    with pytest.raises(ConfigError) as raised:
        build("DQN", params={"n_step": 3, "rollout_fragment_length": 2})
    assert str(raised.value).startswith("algorithm: RLlib refuses these settings: ")
    assert "n_step" in str(raised.value)


def test_changed_settings_are_those_unlike_rllibs_defaults(build):
    # 0.99 is RLlib's default, and 0.0 is its 0
    config = build(params={"lr": 0.0123, "gamma": 0.99}, num_gpus_per_learner=0.0)
    changed = changed_settings(config, "PPO")
    assert changed["lr"] == (5e-5, 0.0123)
    assert changed["num_envs_per_env_runner"] == (1, 40)
    assert changed["seed"] == (None, 0)
    unchanged = {"gamma", "clip_param", "kl_coeff", "num_epochs", "num_gpus_per_learner"}
    assert unchanged.isdisjoint(changed)
    assert list(changed) == sorted(changed)


@pytest.mark.parametrize(
    ("resources", "gpus", "needed"),
    [
        ({}, 0, {"CPU": 1}),
        ({"num_env_runners": 2}, 0, {"CPU": 3}),
        ({"num_env_runners": 1, "num_learners": 2}, 0, {"CPU": 4}),
        ({}, 1, {"CPU": 1, "GPU": 1}),
        ({"num_learners": 2}, 0.5, {"CPU": 1, "GPU": 1}),
    ],
)
def test_a_trial_needs_what_its_processes_need(build, resources, gpus, needed):
    config = build(resources=resources, num_gpus_per_learner=gpus)
    assert required_resources(config) == needed


def test_a_trial_that_needs_nothing_cannot_be_placed(build):
    nothing = {"num_cpus_for_main_process": 0, "num_cpus_per_learner": 0}
    with pytest.raises(
        ConfigError, match="Set num_cpus_for_main_process or num_cpus_per_learner to 1"
    ):
        required_resources(build(params=nothing))


# Environments that raise


def test_the_environment_is_the_experiments_and_reports_its_errors(experiment, tmp_path):
    config = experiment(policies="shared", env={"num_agents": 2, "raises_in": "step"})
    error_file = tmp_path / "env_error.txt"
    algorithm = build_algorithm_config(set_up_trial(config), 0, error_file)
    env = ray.tune.registry._global_registry.get("env_creator", algorithm.env)({})
    assert isinstance(env, ReportingEnv)
    assert env.possible_agents == ["agent_0", "agent_1"]
    observations, _ = env.reset(seed=0)
    assert set(observations["agent_1"]) == {"observation", "agent_id"}
    with pytest.raises(RuntimeError):
        env.step({"agent_0": 0, "agent_1": 0})

    with pytest.raises(TrialError, match="the floor is wet"):
        algorithm.callbacks_on_env_runners_recreated(algorithm=None)
    assert algorithm.callbacks_on_env_runners_recreated.func is raise_env_error


@pytest.mark.parametrize(
    ("algorithm", "model", "what"),
    [
        ("PPO", {"kwargs": {"hiden": 3}}, "model.class"),
        ("DQN", {"shared_trunk": True}, "shared_trunk"),
        ("SAC", {"conv_filters": [[8, 3, 2]]}, "conv_filters"),
    ],
)
def test_a_model_setting_that_nothing_would_read_is_refused(build, algorithm, model, what):
    with pytest.raises(ConfigError, match=what):
        build(algorithm, model=model)
