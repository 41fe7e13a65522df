"""The networks of an experiment's policies: the default ones, RLlib's or a class of the user's."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.apis import TargetNetworkAPI
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModule, RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import nn
from torch.nn.modules.conv import _ConvNd

from empo_rllib.algorithms.policies import Policy, trains_rllib_module
from empo_rllib.algorithms.user_classes import import_class
from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.errors import ConfigError
from empo_rllib.rl_modules.recurrent import RecurrentActorCritic

# What a network overrides: the first, or all of the second.
_FORWARDS = (("_forward",), ("_forward_inference", "_forward_exploration", "_forward_train"))

# Multiplications of a minibatch, forward. Three times as many, with the way back, take a core 20 ms
# or more, and a GPU the few ms in which its kernels are started: an estimate, measured on no GPU.
_GPU_GAINS = 5e8


def rl_module_args(config: ExperimentConfig, policies: Mapping[str, Policy]) -> dict[str, Any]:
    """Returns the arguments of RLlib's `AlgorithmConfig.rl_module`.

    Raises:
        ConfigError: a setting has no effect, or the user's class cannot be imported.
    """
    model = config.model
    _check_model(config)
    if trains_rllib_module(config):
        widths = list(model.hidden_sizes)
        return {"model_config": DefaultModelConfig(fcnet_hiddens=widths, fcnet_activation="relu")}
    return {"rl_module_spec": MultiRLModuleSpec(rl_module_specs=_specs(config, policies))}


def build_own_modules(
    config: ExperimentConfig, policies: Mapping[str, Policy]
) -> dict[str, RLModule]:
    """Builds the network of each policy where `model.class` names one, and nothing otherwise."""
    if config.model.class_ is None:
        return {}
    built = {name: _build(name, spec) for name, spec in _specs(config, policies).items()}
    _check_methods(config)
    return built


def build_rl_modules(
    algorithm: AlgorithmConfig, policies: Mapping[str, Policy]
) -> dict[str, RLModule]:
    """Builds the network of each policy, as training does, with random weights.

    Raises:
        ConfigError: a space is not supported, or a class of the user's fails.
    """
    spaces = {name: (p.observation_space, p.action_space) for name, p in policies.items()}
    specs = algorithm.get_multi_rl_module_spec(spaces=spaces).rl_module_specs
    modules = {name: _build(name, specs[name]) for name in policies}
    for module in modules.values():
        if isinstance(module, TargetNetworkAPI):
            module.make_target_networks()  # the learner does; checkpoints hold them too
    return modules


def why_torch(algorithm: AlgorithmConfig, modules: Mapping[str, RLModule]) -> dict[str, str | None]:
    """Returns for each policy why torch trains its network; None: compiled kernels do, on a CPU."""
    from empo_rllib.learning.ppo.compiled_training import compiled_network
    from empo_rllib.learning.ppo.learner import FragmentPPOLearner

    if not issubclass(algorithm.learner_class, FragmentPPOLearner):
        return dict.fromkeys(modules, "RLlib's own learner")
    found = {
        name: compiled_network(module, algorithm.get_config_for_module(name))
        for name, module in modules.items()
    }
    return {name: network if isinstance(network, str) else None for name, network in found.items()}


def gains_by_gpu(
    algorithm: AlgorithmConfig, modules: Mapping[str, RLModule], why: Mapping[str, str | None]
) -> bool:
    """Whether a learner can be expected to be faster on a GPU than on a CPU.

    It is where a network has convolutions or a memory, or where a minibatch takes it so many
    multiplications that a step is more than the start of a GPU's kernels. The first layer of a
    network that compiled kernels train does not count: on a CPU it costs next to nothing.

    Args:
        algorithm: whose minibatches they learn from.
        modules: the networks.
        why: as `why_torch` returns it.
    """
    rows = algorithm.minibatch_size or algorithm.train_batch_size_per_learner
    return any(
        _has_costly_layers(module)
        or rows * _multiplied(algorithm, name, module, why[name] is None) >= _GPU_GAINS
        for name, module in modules.items()
    )


def _has_costly_layers(module: RLModule) -> bool:
    return any(isinstance(part, _ConvNd | nn.RNNBase) for part in module.modules())


def _multiplied(algorithm: AlgorithmConfig, name: str, module: RLModule, compiled: bool) -> int:
    """Returns the number of weights that each observation is multiplied with."""
    from empo_rllib.learning.ppo.compiled_training import compiled_network

    count = sum(weight.numel() for weight in module.parameters() if weight.ndim > 1)
    network = compiled_network(module, algorithm.get_config_for_module(name)) if compiled else ""
    if isinstance(network, str):
        return count
    return count - sum(layer.weight.numel() for layer in network.first_layers)


def _specs(config: ExperimentConfig, policies: Mapping[str, Policy]) -> dict[str, RLModuleSpec]:
    model = config.model
    module_class = _module_class(config)
    sizes = model.model_dump(include={"hidden_sizes", "conv_filters", "shared_trunk"})
    return {
        name: RLModuleSpec(
            module_class=module_class,
            observation_space=policy.observation_space,
            action_space=policy.action_space,
            model_config={
                **sizes,
                **_memory_config(config),
                **_critic_config(config, policy),
                **model.kwargs,
            },
        )
        for name, policy in policies.items()
    }


def _memory_config(config: ExperimentConfig) -> dict[str, Any]:
    """Returns what a network is told about its memory; one of the user's own may have one."""
    model = config.model
    found: dict[str, Any] = {"max_seq_len": model.max_seq_len}
    if model.memory != "none":
        found |= {"memory": model.memory, "memory_size": model.memory_size}
    return found


def _critic_config(config: ExperimentConfig, policy: Policy) -> dict[str, Any]:
    """Returns what the default network is told about a critic that is not the plain one."""
    found: dict[str, Any] = {}
    if policy.critic_space is not None:
        found["critic_space"] = policy.critic_space
    if config.model.value_norm and policy.train:
        found["value_norm"] = True
    return found


def _build(policy: str, spec: RLModuleSpec) -> RLModule:
    try:
        return spec.build()
    except Exception as error:
        raise ConfigError(
            f"model: the network of policy {policy!r} cannot be built: {error}"
        ) from error


def _check_model(config: ExperimentConfig) -> None:
    """Refuses settings of the network that nothing would read."""
    model = config.model
    if model.class_ is None and model.kwargs:
        raise ConfigError("model.kwargs are for a class of your own: give it in model.class.")
    _check_memory(config)
    if trains_rllib_module(config):
        for key, unused in (("shared_trunk", False), ("conv_filters", None)):
            if getattr(model, key) != unused:
                raise ConfigError(
                    f"model.{key} = {getattr(model, key)!r} has no effect: {config.algorithm.name} "
                    "trains RLlib's own network, which has only model.hidden_sizes."
                )


def _check_memory(config: ExperimentConfig) -> None:
    """Refuses a memory that is not there, and sizes of none."""
    model, name = config.model, config.algorithm.name
    setting = f"model.memory = {model.memory!r}"
    if model.memory not in ALGORITHMS[name].memories:
        able = ", ".join(n for n, row in ALGORITHMS.items() if model.memory in row.memories)
        raise ConfigError(
            f"{setting} is for {able}, and algorithm.name is {name!r}. Change either."
        )
    if model.memory != "none" and model.class_ is not None:
        raise ConfigError(
            f"{setting} has no effect: model.class = {model.class_!r} has a memory of its own, or "
            "none (RLlib's get_initial_state). Remove one of them."
        )
    unused = ["memory_size"] if model.memory == "none" else []
    if model.memory == "none" and model.class_ is None:
        unused.append("max_seq_len")
    for key in unused:
        if getattr(model, key) != type(model).model_fields[key].default:
            raise ConfigError(
                f"model.{key} = {getattr(model, key)!r} has no effect: model.memory is none. Set "
                "that to gru or lstm."
            )


def _check_methods(config: ExperimentConfig) -> None:
    """Refuses a class that leaves out what training calls."""
    own = _module_class(config)
    computes = any(all(_overrides(own, name) for name in names) for names in _FORWARDS)
    if not issubclass(own, TorchRLModule) or not computes:
        raise ConfigError(
            f"model.class = {config.model.class_!r} computes nothing: it must be a subclass of "
            f"TorchRLModule with {' or with '.join(map(', '.join, _FORWARDS))}."
        )
    is_actor_critic = ALGORITHMS[config.algorithm.name].rl_module_class is not None
    if is_actor_critic and not hasattr(own, "compute_values"):
        raise ConfigError(
            f"model.class = {config.model.class_!r} has no compute_values, which "
            f"{config.algorithm.name} calls. Derive it from RLlib's ValueFunctionAPI, too."
        )


def _overrides(own: type[RLModule], name: str) -> bool:
    return getattr(own, name) not in (getattr(RLModule, name), getattr(TorchRLModule, name))


def _module_class(config: ExperimentConfig) -> type[RLModule]:
    own = config.model.class_
    if own is not None:
        return import_class(own, "model.class", RLModule)
    if config.model.memory != "none":
        return RecurrentActorCritic
    return pkgutil.resolve_name(str(ALGORITHMS[config.algorithm.name].rl_module_class))
