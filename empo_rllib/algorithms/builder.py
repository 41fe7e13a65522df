"""An experiment to RLlib's AlgorithmConfig, through its public methods only."""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import os
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core.rl_module.apis import TargetNetworkAPI
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModule, RLModuleSpec
from ray.tune.registry import register_env

from empo_rllib.algorithms.callbacks import EpisodeMetrics
from empo_rllib.algorithms.policies import (
    Policy,
    adapter_options,
    policy_mapping,
    trains_rllib_module,
)
from empo_rllib.algorithms.sampler import Sampler, choose_sampler
from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.params import params_by_method
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.envs.env_errors import ReportingEnv, raise_env_error
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.envs.python_envs import PythonEnvs
from empo_rllib.envs.registry import make_env
from empo_rllib.envs.vector_env import VectorEnv
from empo_rllib.errors import ConfigError
from empo_rllib.sampling.env_runner import FRAGMENT_SOURCE, FragmentEnvRunner, FragmentSource

ENV_NAME = "empo_rllib"


def build_algorithm_config(
    config: ExperimentConfig,
    policies: Mapping[str, Policy],
    num_gpus_per_learner: float = 0,
    env_error_file: Path = Path(os.devnull),
) -> AlgorithmConfig:
    """Returns the validated, not yet frozen RLlib config of one trial.

    Args:
        config: An experiment without search spaces.
        policies: What `build_policies` returned for it.
        num_gpus_per_learner: The number that `auto` stands for, or the one asked for.
        env_error_file: Where an environment that raises leaves its traceback.

    Raises:
        ConfigError: RLlib refuses a parameter or a combination of them.
    """
    sampler = pick_sampler(config, policies)
    env_name = _register_env(config, policies, env_error_file)
    row = ALGORITHMS[config.algorithm.name]
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
        algorithm.training(**row.defaults)
        by_method = params_by_method(config.algorithm.name, config.algorithm.params)
        for method, params in by_method.items():
            getattr(algorithm, method)(**params)
        _apply_sections(algorithm, config, policies, sampler, num_gpus_per_learner)
        if sampler.name != "rllib":
            _apply_fast_path(algorithm, config, policies, sampler, env_error_file)
        algorithm.callbacks(
            on_env_runners_recreated=functools.partial(raise_env_error, env_error_file)
        )
        algorithm.rl_module(**_rl_module_args(config, policies))
        algorithm.validate()
    except (ValueError, TypeError, KeyError) as error:
        reason = str(error).partition(" To suppress all validation errors")[0]
        raise ConfigError(f"algorithm: RLlib refuses these settings: {reason}") from error
    return algorithm


def default_algorithm_config(name: str) -> AlgorithmConfig:
    """Returns RLlib's defaults for `name`, one of `ALGORITHMS`."""
    return pkgutil.resolve_name(ALGORITHMS[name].config_class)()


def build_rl_modules(
    algorithm: AlgorithmConfig, policies: Mapping[str, Policy]
) -> dict[str, RLModule]:
    """Builds the network of each policy, as training does, with random weights.

    Raises:
        ConfigError: a space is not supported, or a class of the user's fails.
    """
    spaces = {name: (p.observation_space, p.action_space) for name, p in policies.items()}
    specs = algorithm.get_multi_rl_module_spec(spaces=spaces).rl_module_specs
    modules = {name: _build_module(name, specs[name]) for name in policies}
    for module in modules.values():
        if isinstance(module, TargetNetworkAPI):
            module.make_target_networks()  # the learner does; checkpoints hold them too
    return modules


def pick_sampler(config: ExperimentConfig, policies: Mapping[str, Policy]) -> Sampler:
    """Returns how this trial samples and learns.

    Raises:
        ConfigError: `resources.sampler` asks for a way that does not fit.
    """
    modules = {}
    if config.model.class_ is not None and config.resources.sampler != "rllib":
        specs = _rl_module_args(config, policies)["rl_module_spec"].rl_module_specs
        modules = {name: _build_module(name, spec) for name, spec in specs.items()}
    return choose_sampler(config, policies, _user_callbacks(config), modules)


def _build_module(policy: str, spec: RLModuleSpec) -> RLModule:
    try:
        return spec.build()
    except Exception as error:
        raise ConfigError(
            f"model: the network of policy {policy!r} cannot be built: {error}"
        ) from error


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


def import_object(path: str, place: str) -> Any:
    """Imports `package.module:name`, or raises ConfigError naming `place` in the file."""
    module_name, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module_name), name)
    except Exception as error:  # whatever the user's module raises while it is imported
        reason = error if isinstance(error, ImportError | AttributeError) else repr(error)
        raise ConfigError(f"{place} = {path!r} cannot be imported: {reason}") from error


def _register_env(
    config: ExperimentConfig, policies: Mapping[str, Policy], error_file: Path
) -> str:
    """Registers the trial's environment under a name of its own, and returns that.

    Ray's registry is common to all trials of a run: under one name, trials that run at the same
    time would train in each other's environments.
    """
    content = json.dumps([config.to_dict(), str(error_file)], default=str)
    name = f"{ENV_NAME}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    register_env(name, functools.partial(_make_env, config, policies, error_file))
    return name


def _make_env(
    config: ExperimentConfig, policies: Mapping[str, Policy], error_file: Path, _: Any
) -> ReportingEnv:
    env = make_env(config.env.id, config.env.num_agents, **config.env.kwargs)
    return ReportingEnv(error_file, env, **adapter_options(config, policies))


def _policy_for_agent(mapping: dict[str, str], agent_id: str, *args: Any, **kwargs: Any) -> str:
    return mapping[agent_id]


def _apply_sections(
    algorithm: AlgorithmConfig,
    config: ExperimentConfig,
    policies: Mapping[str, Policy],
    sampler: Sampler,
    num_gpus_per_learner: float,
) -> None:
    resources, evaluation = config.resources, config.evaluation
    # One env at a time: of the episodes that several end first, RLlib's own env runner
    # would take too many short ones.
    evaluation_envs = {"num_envs_per_env_runner": 1} if sampler.name == "rllib" else {}
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
    algorithm.callbacks([EpisodeMetrics, *_user_callbacks(config)])
    algorithm.debugging(seed=config.seed)


def _apply_fast_path(
    algorithm: AlgorithmConfig,
    config: ExperimentConfig,
    policies: Mapping[str, Policy],
    sampler: Sampler,
    env_error_file: Path,
) -> None:
    """Puts this package's env runner and learner in the place of RLlib's."""
    source = FragmentSource(
        make_envs=functools.partial(_make_vector_env, config, sampler.name),
        agents={name: policy.agents for name, policy in policies.items()},
        with_agent_id=frozenset(name for name, p in policies.items() if p.agent_id_input),
        env_error_file=env_error_file,
    )
    algorithm.env_runners(env_runner_cls=FragmentEnvRunner)
    algorithm.environment(env_config={FRAGMENT_SOURCE: source})
    algorithm.learners(
        learner_class=pkgutil.resolve_name(str(ALGORITHMS[config.algorithm.name].learner_class))
    )


def _make_vector_env(config: ExperimentConfig, sampler: str, num_envs: int) -> VectorEnv:
    make = functools.partial(make_env, config.env.id, config.env.num_agents, **config.env.kwargs)
    if sampler == "batched":
        from empo_rllib.envs.batched.multigrid import BatchedMultiGrid

        return BatchedMultiGrid(make, num_envs)
    return PythonEnvs(lambda: ParallelMultiAgentEnv(make()), num_envs)


def _user_callbacks(config: ExperimentConfig) -> list[type[RLlibCallback]]:
    return [
        _import_class(path, "algorithm.callbacks", RLlibCallback)
        for path in config.algorithm.callbacks
    ]


def _rl_module_args(config: ExperimentConfig, policies: Mapping[str, Policy]) -> dict[str, Any]:
    model = config.model
    _check_model(config)
    if trains_rllib_module(config):
        widths = list(model.hidden_sizes)
        return {"model_config": DefaultModelConfig(fcnet_hiddens=widths, fcnet_activation="relu")}
    module_class = _module_class(config)
    sizes = model.model_dump(include={"hidden_sizes", "conv_filters", "shared_trunk"})
    specs = {
        name: RLModuleSpec(
            module_class=module_class,
            observation_space=policy.observation_space,
            action_space=policy.action_space,
            model_config={**sizes, **model.kwargs},
        )
        for name, policy in policies.items()
    }
    return {"rl_module_spec": MultiRLModuleSpec(rl_module_specs=specs)}


def _check_model(config: ExperimentConfig) -> None:
    """Refuses settings of the network that nothing would read."""
    model = config.model
    if model.class_ is None and model.kwargs:
        raise ConfigError("model.kwargs are for a class of your own: give it in model.class.")
    if trains_rllib_module(config):
        for key, unused in (("shared_trunk", False), ("conv_filters", None)):
            if getattr(model, key) != unused:
                raise ConfigError(
                    f"model.{key} = {getattr(model, key)!r} has no effect: {config.algorithm.name} "
                    "trains RLlib's own network, which has only model.hidden_sizes."
                )


def _module_class(config: ExperimentConfig) -> type[RLModule]:
    default = ALGORITHMS[config.algorithm.name].rl_module_class
    if config.model.class_ is None:
        return pkgutil.resolve_name(str(default))
    module_class: type[RLModule] = _import_class(config.model.class_, "model.class", RLModule)
    return module_class


def _import_class(path: str, place: str, base: type) -> Any:
    imported = import_object(path, place)
    if not (isinstance(imported, type) and issubclass(imported, base)):
        raise ConfigError(
            f"{place} = {path!r} is not a subclass of {base.__module__}.{base.__name__}."
        )
    return imported
