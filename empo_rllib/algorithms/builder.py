"""A trial to RLlib's AlgorithmConfig, through its public methods only."""

from __future__ import annotations

import functools
import hashlib
import json
import pkgutil
from pathlib import Path
from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.env.env_context import EnvContext
from ray.tune.registry import register_env

from empo_rllib.algorithms.callbacks import EpisodeMetrics
from empo_rllib.algorithms.networks import rl_module_args
from empo_rllib.algorithms.policies import adapter_options, policy_mapping
from empo_rllib.algorithms.setup import TrialSetup, open_checked_env, open_env
from empo_rllib.algorithms.user_classes import user_callbacks
from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.params import params_by_method
from empo_rllib.config.sections import EnvConfig
from empo_rllib.envs.env_errors import NOWHERE, ReportingEnv, raise_env_error
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.envs.python_envs import PythonEnvs
from empo_rllib.envs.step_limit import cut_limit
from empo_rllib.envs.vector_env import VectorEnv
from empo_rllib.errors import ConfigError
from empo_rllib.sampling.env_runner import FRAGMENT_SOURCE, FragmentEnvRunner, FragmentSource

ENV_NAME = "empo_rllib"
_IN_EVALUATION = "in_evaluation"


def build_algorithm_config(
    setup: TrialSetup,
    num_gpus_per_learner: float = 0,
    env_error_file: Path = NOWHERE,
) -> AlgorithmConfig:
    """Returns the validated, not yet frozen RLlib config of one trial.

    Args:
        setup: The trial.
        num_gpus_per_learner: The number that `auto` stands for, or the one asked for.
        env_error_file: Where an environment that raises leaves its traceback.

    Raises:
        ConfigError: RLlib refuses a parameter or a combination of them.
    """
    config = setup.config
    env_name = _register_env(setup, env_error_file)
    algorithm = default_algorithm_config(config.algorithm.name)
    try:
        algorithm.debugging(log_level="ERROR")
        algorithm.environment(env_name, disable_env_checking=True)
        algorithm.fault_tolerance(
            # RLlib sleeps a minute before it ends an env runner that raised, which is all that a
            # failed trial would wait for.
            delay_between_env_runner_restarts_s=0,
            # Each iteration waits so long for a lost env runner: 30 s by default, also while there
            # is no node that it could come back on.
            env_runner_health_probe_timeout_s=1,
        )
        algorithm.training(**ALGORITHMS[config.algorithm.name].defaults)
        by_method = params_by_method(config.algorithm.name, config.algorithm.params)
        for method, params in by_method.items():
            getattr(algorithm, method)(**params)
        _apply_sections(algorithm, setup, num_gpus_per_learner)
        if setup.sampler.name != "rllib":
            _apply_fast_path(algorithm, setup, env_error_file)
        algorithm.callbacks(
            on_env_runners_recreated=functools.partial(raise_env_error, env_error_file)
        )
        algorithm.rl_module(**rl_module_args(config, setup.policies))
        algorithm.validate()
    except (ValueError, TypeError, KeyError) as error:
        reason = str(error).partition(" To suppress all validation errors")[0]
        raise ConfigError(f"algorithm: RLlib refuses these settings: {reason}") from error
    return algorithm


def default_algorithm_config(name: str) -> AlgorithmConfig:
    """Returns RLlib's defaults for `name`, one of `ALGORITHMS`."""
    return pkgutil.resolve_name(ALGORITHMS[name].config_class)()


def changed_settings(algorithm: AlgorithmConfig, name: str) -> dict[str, tuple[Any, Any]]:
    """Every setting that differs from RLlib's default: name to (default, value)."""
    default, ours = default_algorithm_config(name).to_dict(), algorithm.to_dict()
    return {
        key: (default.get(key), value)
        for key, value in sorted(ours.items())
        if _differ(default.get(key), value)
    }


def _differ(default: Any, value: Any) -> bool:
    if isinstance(default, int | float) and isinstance(value, int | float):
        return default != value
    return repr(default) != repr(value)  # spaces and arrays have no single truth value


def required_resources(algorithm: AlgorithmConfig) -> dict[str, float]:
    """CPUs, GPUs and custom resources that one trial needs.

    Raises:
        ConfigError: its main process would need nothing, which RLlib cannot place.
    """
    try:
        request = algorithm.algo_class.default_resource_request(algorithm)
    except ValueError as error:
        raise ConfigError(
            "algorithm.params: a trial's main process needs at least one CPU or GPU. Set "
            f"num_cpus_for_main_process or num_cpus_per_learner to 1. ({error})"
        ) from error
    return dict(request.required_resources)


def _register_env(setup: TrialSetup, error_file: Path) -> str:
    """Registers the trial's environment under a name of its own, and returns that.

    Ray's registry is common to all trials of a run: under one name, trials that run at the same
    time would train in each other's environments.
    """
    content = json.dumps([setup.config.to_dict(), str(error_file)], default=str)
    name = f"{ENV_NAME}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    register_env(name, functools.partial(_make_env, setup, error_file))
    return name


def _make_env(setup: TrialSetup, error_file: Path, env_config: dict[str, Any]) -> ReportingEnv:
    options = adapter_options(setup.config, setup.policies)
    env = ReportingEnv(error_file, open_env(setup.config.env), **options)
    if env_config.get(_IN_EVALUATION):
        env.episode_limit = cut_limit(env.env)
    return env


def _policy_for_agent(mapping: dict[str, str], agent_id: str, *args: Any, **kwargs: Any) -> str:
    return mapping[agent_id]


def _apply_sections(
    algorithm: AlgorithmConfig, setup: TrialSetup, num_gpus_per_learner: float
) -> None:
    config, policies = setup.config, setup.policies
    resources, evaluation = config.resources, config.evaluation
    # One env at a time: of the episodes that several end first, RLlib's own env runner
    # would take too many short ones.
    evaluation_envs = (
        {"num_envs_per_env_runner": 1, "env_config": {_IN_EVALUATION: True}}
        if setup.sampler.name == "rllib"
        else {}
    )
    algorithm.env_runners(
        num_env_runners=resources.num_env_runners,
        num_envs_per_env_runner=resources.num_envs_per_env_runner,
    )
    algorithm.learners(
        num_learners=resources.num_learners, num_gpus_per_learner=num_gpus_per_learner
    )
    algorithm.multi_agent(
        policies={
            name: (None, policy.observation_space, policy.action_space, {})
            for name, policy in policies.items()
        },
        policy_mapping_fn=functools.partial(_policy_for_agent, policy_mapping(policies)),
        policies_to_train=[name for name, policy in policies.items() if policy.train],
    )
    if evaluation.interval:
        algorithm.evaluation(
            evaluation_interval=evaluation.interval,
            evaluation_duration=evaluation.num_episodes,
            evaluation_duration_unit="episodes",
            evaluation_config={
                "explore": not ALGORITHMS[config.algorithm.name].greedy,
                **evaluation_envs,
            },
        )
    algorithm.callbacks([EpisodeMetrics, *user_callbacks(config)])
    algorithm.debugging(seed=config.seed)


def _apply_fast_path(algorithm: AlgorithmConfig, setup: TrialSetup, env_error_file: Path) -> None:
    """Puts this package's env runner and learner in the place of RLlib's."""
    policies, learner = setup.policies, ALGORITHMS[setup.config.algorithm.name].learner_class
    critic = setup.config.model.critic
    source = FragmentSource(
        make_envs=functools.partial(
            _make_vector_env, setup.config.env, setup.sampler.name, critic == "state"
        ),
        critic=critic,
        agents={name: policy.agents for name, policy in policies.items()},
        with_agent_id=frozenset(name for name, p in policies.items() if p.agent_id_input),
        env_error_file=env_error_file,
        team_reward=setup.config.env.team_reward,
    )
    algorithm.env_runners(env_runner_cls=FragmentEnvRunner)
    algorithm.environment(env_config={FRAGMENT_SOURCE: source})
    algorithm.learners(learner_class=pkgutil.resolve_name(str(learner)))


def _make_vector_env(
    env: EnvConfig,
    sampler: str,
    with_state: bool,
    num_envs: int,
    in_evaluation: bool,
    _context: EnvContext,
) -> VectorEnv:
    if sampler == "batched":
        from empo_rllib.envs.batched.multigrid import BatchedMultiGrid

        return BatchedMultiGrid(functools.partial(open_env, env), num_envs)
    make = functools.partial(_open_env, env, in_evaluation)
    return PythonEnvs(make, num_envs, with_state and not in_evaluation)  # acting needs no critic


def _open_env(env: EnvConfig, in_evaluation: bool) -> ParallelMultiAgentEnv:
    opened = open_checked_env(env)
    if in_evaluation:
        opened.episode_limit = cut_limit(opened.env)
    return opened
