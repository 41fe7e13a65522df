"""`empo_rllib.accelerate`: this package's env runner and learner for a `PPOConfig` of one's own.

Of RLlib's private parts (Ray 2.60) it reads where `AlgorithmConfig` keeps connectors, which a
contract test checks.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gymnasium as gym
from pettingzoo import ParallelEnv
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo import PPO, PPOConfig
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core.rl_module.apis import SelfSupervisedLossAPI, ValueFunctionAPI
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModule
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.env.env_context import EnvContext
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from ray.rllib.policy.policy import PolicySpec
from ray.rllib.utils import force_list

from empo_rllib.algorithms.sampler import RLLIB_CALLBACKS, STOCK_PARAMS
from empo_rllib.envs.env_errors import NOWHERE
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.envs.rllib_env import RllibParallelEnv, registered_creator
from empo_rllib.envs.vector_env import ARRAY_SPACES, ObservationLeaves
from empo_rllib.errors import ConfigError, nearest
from empo_rllib.learning.ppo.learner import FragmentPPOLearner
from empo_rllib.sampling.accelerated import (
    AcceleratedEnv,
    AcceleratedEnvRunner,
    CreatedSource,
    Creator,
    make_created_envs,
)
from empo_rllib.sampling.env_runner import FRAGMENT_SOURCE

CONNECTORS = ("env_to_module_connector", "module_to_env_connector", "learner_connector")
# A mapping that draws gives itself away in so many calls, but for one chance in a million.
_CALLS = 20


def accelerate(config: PPOConfig) -> PPOConfig:
    """Returns a copy of an RLlib config that samples and learns on this package's fast path.

    Call it last, before `build_algo()` or Tune. Environment, networks, hyperparameters, results and
    checkpoints stay RLlib's; the copy can be restored by `Algorithm.from_checkpoint`. The
    environment is made once here, to read its agents and spaces.

    Args:
        config: of PPO on RLlib's new API stack, with a `MultiAgentEnv`: a class, a creator or a
            name given to `register_env`.

    Raises:
        ConfigError: the fast path cannot do something that the config asks for.
        EnvError: the environment does not list its agents.
    """
    for problem in _problems(config):
        raise _refusal(problem)
    creator = _creator(config.env)
    env = creator(EnvContext(config.env_config, worker_index=0, num_workers=config.num_env_runners))
    with contextlib.closing(env):
        if not isinstance(env, MultiAgentEnv):
            raise _refusal(_why_no_env(env))
        adapted = ParallelMultiAgentEnv(RllibParallelEnv(env))
        agents = _agents_of_policies(config, adapted.possible_agents)
        spaces = {name: _spaces(config, name, team, adapted) for name, team in agents.items()}
    _check_networks(config, spaces)
    source = CreatedSource(
        make_envs=functools.partial(make_created_envs, creator),
        agents=agents,
        with_agent_id=frozenset(),
        env_error_file=NOWHERE,
        creator=creator,
    )
    fast: PPOConfig = config.copy(copy_frozen=False)
    fast.environment(AcceleratedEnv, env_config={**config.env_config, FRAGMENT_SOURCE: source})
    fast.environment(disable_env_checking=True)  # each step is checked
    fast.env_runners(env_runner_cls=AcceleratedEnvRunner)
    fast.learners(learner_class=FragmentPPOLearner)
    return fast


def _refusal(problem: str) -> ConfigError:
    return ConfigError(f"empo_rllib.accelerate: {problem}")


def _problems(config: Any) -> Iterator[str]:
    """Yields what of a config the fast path would ignore or cannot do."""
    if not isinstance(config, PPOConfig) or config.algo_class is not PPO:
        found = config.algo_class if isinstance(config, AlgorithmConfig) else type(config)
        yield f"it takes a PPOConfig, and this is one of {getattr(found, '__name__', found)}."
        return
    if not (config.enable_rl_module_and_learner and config.enable_env_runner_and_connector_v2):
        yield "it needs RLlib's new API stack. Remove config.api_stack(...)."
    if not config.is_multi_agent:
        yield "there are no policies. Add config.multi_agent(policies=..., policy_mapping_fn=...)."
    if config.env_runner_cls is not None:
        yield f"it has an env runner of its own. Remove env_runner_cls = {config.env_runner_cls}."
    if config.learner_class is not PPOTorchLearner:
        yield f"it has a learner of its own. Remove learner_class = {config.learner_class}."
    if config.num_learners > 1:
        yield f"num_learners = {config.num_learners}: the fast learner is one process. Set 0 or 1."
    if config.input_ != "sampler" or config.output is not None:
        yield "it neither reads nor writes offline data (input_, output)."
    default = PPOConfig()
    for name in STOCK_PARAMS:
        if getattr(config, name) != getattr(default, name):
            yield f"{name} = {getattr(config, name)!r} asks for RLlib's own way. Remove it."
    for name in CONNECTORS:
        if getattr(config, f"_{name}") is not None:
            yield (
                f"{name}: the fast path has no connectors. Do its work in the environment or in "
                "the RLModule, and remove it."
            )
    yield from _problems_of_callbacks(config)


def _problems_of_callbacks(config: PPOConfig) -> Iterator[str]:
    for method in RLLIB_CALLBACKS:
        for callback in force_list(config.callbacks_class):
            own = getattr(callback, method, None) if inspect.isclass(callback) else None
            if own is not getattr(RLlibCallback, method):
                name = getattr(callback, "__name__", repr(callback))
                yield _callback_problem(f"{name}.{method}")
        if getattr(config, f"callbacks_{method}") is not None:
            yield _callback_problem(method)


def _callback_problem(callback: str) -> str:
    return (
        f"the callback {callback} gets RLlib's envs or episodes, which the fast path does not "
        "have. Use on_train_result, or on_sample of empo_rllib.SampleCallback."
    )


def _creator(env: Any) -> Creator:
    """Returns what makes an environment of an `EnvContext`."""
    if isinstance(env, str):
        creator = registered_creator(env)
        if creator is None:
            raise _refusal(
                f"no environment is registered as {env!r} (ray.tune.register_env); ids of "
                "Gymnasium are of environments with a single agent."
            )
        return creator
    if not callable(env):
        raise _refusal("config.environment(...) names no environment.")
    return env


def _why_no_env(env: Any) -> str:
    problem = f"{type(env).__name__} is not a MultiAgentEnv of RLlib."
    if isinstance(env, ParallelEnv):
        return f"{problem} Wrap it: ray.rllib.env.wrappers.pettingzoo_env.ParallelPettingZooEnv."
    return problem


class _NoEpisode:
    """In place of the episode that a `policy_mapping_fn` is given."""

    def __getattr__(self, name: str) -> Any:
        raise _refusal(
            f"policy_mapping_fn reads the episode ({name}). The fast path needs the same policy "
            "for an agent in all episodes."
        )


def _agents_of_policies(config: PPOConfig, agents: list[Any]) -> dict[str, tuple[Any, ...]]:
    """Returns the agents of each policy that acts for some."""
    mapping: Callable[..., str] = config.policy_mapping_fn
    found: dict[str, tuple[Any, ...]] = {}
    for agent in agents:
        policies = {mapping(agent, _NoEpisode()) for _ in range(_CALLS)}
        if len(policies) > 1:
            raise _refusal(
                f"policy_mapping_fn gives {agent!r} {' or '.join(sorted(policies))}. The fast path "
                "needs the same policy for an agent in all episodes."
            )
        (policy,) = policies
        if policy not in config.policies:
            raise _refusal(
                f"policy_mapping_fn gives {agent!r} the policy {policy!r}, which "
                f"config.multi_agent does not name.{nearest(policy, config.policies)}"
            )
        found[policy] = (*found.get(policy, ()), agent)
    return found


def _spaces(
    config: PPOConfig, policy: str, team: tuple[Any, ...], env: ParallelMultiAgentEnv
) -> tuple[gym.Space, gym.Space]:
    """Returns what a policy reads and chooses from."""
    first, *others = team
    found = env.observation_spaces[first], env.action_spaces[first]
    for agent in others:
        if (env.observation_spaces[agent], env.action_spaces[agent]) != found:
            raise _refusal(f"{policy!r} acts for {first!r} and {agent!r}, whose spaces differ.")
    for declared, space in zip(_declared(config, policy), found, strict=True):
        if declared is not None and declared != space:
            raise _refusal(
                f"{policy!r} is given the space {declared}, and its agents have {space}."
            )
    if not isinstance(found[1], ARRAY_SPACES):
        raise _refusal(f"actions of {policy!r} are a {type(found[1]).__name__}.")
    for kind in ObservationLeaves(found[0]).kinds - set(ARRAY_SPACES):
        raise _refusal(f"observations of {policy!r} hold a {kind.__name__}.")
    return found


def _declared(config: PPOConfig, policy: str) -> tuple[gym.Space | None, gym.Space | None]:
    """Returns the spaces that a config gives a policy, if any."""
    spec = config.policies[policy]
    spec = spec if isinstance(spec, PolicySpec) else PolicySpec(*spec)
    return spec.observation_space, spec.action_space


def _check_networks(config: PPOConfig, spaces: Mapping[str, tuple[gym.Space, gym.Space]]) -> None:
    """Builds the network of each policy that acts, and refuses what the learner cannot train."""
    built = config.get_multi_rl_module_spec(spaces=dict(spaces))
    if built.multi_rl_module_class is not MultiRLModule:
        raise _refusal(
            f"{built.multi_rl_module_class.__name__} may share parts between policies, each of "
            "which the fast learner trains by itself. Use RLlib's MultiRLModule."
        )
    for policy in spaces:
        module = built.rl_module_specs[policy].build()
        name = f"{type(module).__name__} of {policy!r}"
        if isinstance(module, SelfSupervisedLossAPI):
            raise _refusal(f"{name} has a loss of its own.")
        if not isinstance(module, TorchRLModule) or not isinstance(module, ValueFunctionAPI):
            raise _refusal(f"{name} must be a TorchRLModule with RLlib's ValueFunctionAPI.")
