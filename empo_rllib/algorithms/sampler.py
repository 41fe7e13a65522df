"""Which way an experiment samples and learns, and why: `resources.sampler`.

    batched     MultiGrid in array kernels, fragments, the fast learner
    python      N Python instances of any environment, fragments, the fast learner
    rllib       RLlib's own env runner, episodes and learner

`auto` takes the first that fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from empo_rllib.algorithms.critics import check_sampler
from empo_rllib.algorithms.policies import Policy
from empo_rllib.algorithms.user_classes import user_callbacks
from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.params import known_params
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.envs.batched import why_not_batched
from empo_rllib.envs.vector_env import ARRAY_SPACES, ObservationLeaves
from empo_rllib.errors import ConfigError

#: With one of these at another value, RLlib's own way of sampling or learning is asked for.
STOCK_PARAMS = (
    "add_default_connectors_to_env_to_module_pipeline",
    "add_default_connectors_to_learner_pipeline",
    "add_default_connectors_to_module_to_env_pipeline",
    "batch_mode",
    "count_steps_by",
    "gym_env_vectorize_mode",
    "num_aggregator_actors_per_learner",
    "restart_failed_sub_environments",
    "torch_compile_learner",
    "torch_compile_worker",
    "use_env_runner_state_server",
)
# docs/benchmarks.md, with 8 envs on the same cores.
_COST_OF_RLLIB = (
    "sampling and learning are 5 to 15 times slower with them. on_train_result and "
    "empo_rllib.SampleCallback keep the fast path"
)
#: Callbacks that are handed RLlib's envs or episodes, which the fast path does not play in or make.
RLLIB_CALLBACKS = (
    "on_environment_created",
    "on_episode_created",
    "on_episode_start",
    "on_episode_step",
    "on_episode_end",
    "on_sample_end",
)


@dataclass(frozen=True)
class Sampler:
    """The choice and one sentence that gives its reason."""

    name: Literal["batched", "python", "rllib"]
    reason: str


def choose_sampler(config: ExperimentConfig, policies: Mapping[str, Policy], env: Any) -> Sampler:
    """Returns how one trial samples and learns.

    Args:
        config: an experiment without search spaces.
        policies: what `build_policies` returned for it.
        env: an instance of its PettingZoo environment.

    Raises:
        ConfigError: `resources.sampler` asks for one that does not fit, or a class of the user's
            cannot be imported or built, or needs another sampler.
    """
    sampler = _choose(config, policies, env)
    if sampler.name == "rllib":
        _check_callbacks(config, sampler.reason)
        check_sampler(config, sampler.reason)
    return sampler


def _choose(config: ExperimentConfig, policies: Mapping[str, Policy], env: Any) -> Sampler:
    asked = config.resources.sampler
    if asked == "rllib":
        return Sampler("rllib", "as asked for")
    needs_rllib = next(_reasons_for_rllib(config, policies), None)
    if needs_rllib is not None:
        if asked != "auto":
            raise _does_not_fit(asked, needs_rllib, "rllib or auto")
        return Sampler("rllib", needs_rllib)
    if asked == "python":
        return Sampler("python", "as asked for")
    not_batched = why_not_batched(env)
    if config.model.critic == "state":
        not_batched = "model.critic = 'state' reads the environment's state(), in Python"
    if not_batched is None:
        reason = "as asked for" if asked == "batched" else "MultiGrid with known step rules"
        return Sampler("batched", reason)
    if asked == "batched":
        raise _does_not_fit(asked, not_batched, "python, rllib or auto")
    return Sampler("python", not_batched)


def _check_callbacks(config: ExperimentConfig, reason: str) -> None:
    """Refuses callbacks that the sampler `rllib` would never call."""
    for callback in user_callbacks(config):
        from empo_rllib.sampling.callback import SampleCallback

        if (
            issubclass(callback, SampleCallback)
            and callback.on_sample is not SampleCallback.on_sample
        ):
            raise ConfigError(
                f"algorithm.callbacks: {callback.__name__}.on_sample needs the sampler batched or "
                f"python, and this trial gets rllib: {reason}. Change that, or remove the callback."
            )


def _does_not_fit(asked: str, reason: str, others: str) -> ConfigError:
    return ConfigError(
        f"resources.sampler = {asked!r} does not fit: {reason}. Change that, or take {others}."
    )


def _reasons_for_rllib(config: ExperimentConfig, policies: Mapping[str, Policy]) -> Iterator[str]:
    """Yields what only RLlib's own env runner and learner can do."""
    if ALGORITHMS[config.algorithm.name].learner_class is None:
        fast = ", ".join(name for name, row in ALGORITHMS.items() if row.learner_class)
        yield f"the faster samplers train {fast}, not {config.algorithm.name}"
    if config.resources.num_learners > 1:
        yield f"num_learners = {config.resources.num_learners}: the fast learner is one process"
    known = known_params(config.algorithm.name)
    for name in STOCK_PARAMS:
        value = config.algorithm.params.get(name, known[name].default)
        if value != known[name].default:
            yield f"algorithm.params.{name} = {value!r}"
    yield from _reasons_in_callbacks(config)
    for policy in policies.values():
        if not isinstance(policy.action_space, ARRAY_SPACES):
            yield f"actions of {policy.name!r} are a {type(policy.action_space).__name__}"
        for kind in ObservationLeaves(policy.observation_space).kinds - set(ARRAY_SPACES):
            yield f"observations of {policy.name!r} hold a {kind.__name__}"
    if config.model.class_ is not None:
        yield from _reasons_in_own_networks(config, policies)


def _reasons_in_callbacks(config: ExperimentConfig) -> Iterator[str]:
    for callback in user_callbacks(config):
        from ray.rllib.callbacks.callbacks import RLlibCallback

        for method in RLLIB_CALLBACKS:
            if getattr(callback, method) is not getattr(RLlibCallback, method):
                yield (
                    f"the callback {callback.__name__}.{method} needs RLlib's envs and episodes: "
                    f"{_COST_OF_RLLIB}"
                )


def _reasons_in_own_networks(
    config: ExperimentConfig, policies: Mapping[str, Policy]
) -> Iterator[str]:
    from ray.rllib.core.rl_module.apis import SelfSupervisedLossAPI

    from empo_rllib.algorithms.networks import build_own_modules

    for name, module in build_own_modules(config, policies).items():
        if isinstance(module, SelfSupervisedLossAPI):
            yield f"the network of {name!r} has a loss of its own"
