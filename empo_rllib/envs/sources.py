"""One builder per kind of environment id.

Each takes the id, the agent count (None: the environment's own) and the keyword arguments, and
returns a `ParallelEnv` or raises an `EnvError`. Imports that take time are inside the builders.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from empo_rllib.envs.arguments import (
    accepted_arguments,
    call_constructor,
    check_arguments,
    describe,
    missing_package,
)
from empo_rllib.envs.factories import check_makes_environments
from empo_rllib.errors import EnvError, nearest

if TYPE_CHECKING:
    from types import ModuleType

    from multigrid.base import MultiGridEnv
    from pettingzoo import ParallelEnv

RENDER_MODES = ("human", "rgb_array")


def build_multigrid(env_id: str, num_agents: int | None, kwargs: dict[str, Any]) -> ParallelEnv:
    """Builds one of the environments that `multigrid` registers."""
    from multigrid.envs import CONFIGURATIONS

    env_class, preset = CONFIGURATIONS[env_id]
    return _build_multigrid_class(env_id, env_class, num_agents, {**preset, **kwargs})


def build_from_registry(env_id: str, num_agents: int | None, kwargs: dict[str, Any]) -> ParallelEnv:
    """Builds an environment of PettingZoo's parallel registry."""
    from pettingzoo.env_registry.helpers import find_spec
    from pettingzoo.env_registry.registration import parallel_registry

    spec = find_spec(parallel_registry, env_id)
    if not isinstance(spec.entry_point, str):
        return _build_from_callable(env_id, spec.make, num_agents, kwargs)
    module_name, attribute = spec.entry_point.split(":")
    module = import_module(env_id, module_name)
    return _build_from_module(env_id, module, attribute, num_agents, {**spec.kwargs, **kwargs})


def build_from_module(env_id: str, num_agents: int | None, kwargs: dict[str, Any]) -> ParallelEnv:
    """Builds the environment of a PettingZoo module, by its `parallel_env` or else its `env`."""
    module = import_module(env_id, env_id)
    attribute = "parallel_env" if hasattr(module, "parallel_env") else "env"
    if not callable(getattr(module, attribute, None)):
        raise EnvError(
            f"env.id = {env_id!r} is a module without parallel_env or env, so it is no PettingZoo "
            "environment. A function of your own is written package.module:factory."
        )
    return _build_from_module(env_id, module, attribute, num_agents, kwargs)


def build_gymnasium(env_id: str, num_agents: int | None, kwargs: dict[str, Any]) -> ParallelEnv:
    """Builds a Gymnasium environment, which gets the one agent `agent_0`."""
    import gymnasium as gym

    gym_id = env_id.rpartition(":")[2]

    def make(**arguments: Any) -> gym.Env:
        return gym.make(gym_id, disable_env_checker=True, **arguments)

    return _build_from_callable(env_id, make, num_agents, kwargs)


def build_registered(
    env_id: str, num_agents: int | None, kwargs: dict[str, Any], module_name: str = ""
) -> ParallelEnv:
    """Builds a Gymnasium environment that a module registers when it is imported.

    Args:
        env_id: `Id-v0`, or `module:Id-v0`.
        num_agents: as everywhere here.
        kwargs: the same.
        module_name: the module, where `env_id` does not name it.
    """
    import gymnasium as gym

    named, _, gym_id = env_id.rpartition(":")
    module = import_module(env_id, module_name or named)
    if gym_id not in gym.registry:
        raise EnvError(
            f"env.id = {env_id!r}: importing {module.__name__} registers no environment "
            f"{gym_id!r} with Gymnasium." + nearest(gym_id, gym.registry)
        )
    return build_gymnasium(env_id, num_agents, kwargs)


def build_from_factory(env_id: str, num_agents: int | None, kwargs: dict[str, Any]) -> ParallelEnv:
    """Builds an environment by calling `package.module:factory`."""
    module_name, _, attribute = env_id.partition(":")
    module = import_module(env_id, module_name)
    factory = getattr(module, attribute, None)
    if not callable(factory):
        known = [name for name, value in vars(module).items() if callable(value)]
        what = "does not exist" if factory is None else "is not a function or class"
        raise EnvError(
            f"env.id = {env_id!r}: {module_name}.{attribute} {what}." + nearest(attribute, known)
        )
    check_makes_environments(env_id, factory)
    return _build_from_callable(env_id, factory, num_agents, kwargs)


def build_from_rllib(env_id: str, num_agents: int | None, kwargs: dict[str, Any]) -> ParallelEnv:
    """Builds an environment that this program registered with `ray.tune.register_env`."""
    from empo_rllib.envs.rllib_env import registered_creator

    creator = registered_creator(env_id)
    assert creator is not None
    return _build_from_callable(env_id, creator, num_agents, kwargs)


def import_module(env_id: str, name: str) -> ModuleType:
    """Imports a module for `env_id`; any failure is an `EnvError`."""
    try:
        # PettingZoo's versioned modules warn that its registry is the newer way; both stay valid.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return importlib.import_module(name)
    except ImportError as error:
        raise EnvError(missing_package(env_id, error)) from error
    except Exception as error:
        raise EnvError(f"env.id = {env_id!r}: importing {name} fails: {describe(error)}") from error


def _build_from_module(
    env_id: str, module: ModuleType, attribute: str, num_agents: int | None, kwargs: dict[str, Any]
) -> ParallelEnv:
    # The public functions of PettingZoo's modules take **kwargs; `raw_env` behind them has names.
    raw_env = getattr(module, "raw_env", None)
    if inspect.isclass(raw_env):
        names, complete = accepted_arguments(raw_env)
        if complete:
            check_arguments(env_id, kwargs, names)
    factory = getattr(module, attribute)
    check_makes_environments(env_id, factory)
    return _build_from_callable(env_id, factory, num_agents, kwargs)


def _build_from_callable(
    env_id: str, factory: Callable[..., Any], num_agents: int | None, kwargs: dict[str, Any]
) -> ParallelEnv:
    """Calls a factory, which is told the agent count if it takes one, and adapts its result."""
    if inspect.isclass(factory) and _is_multigrid(factory):
        return _build_multigrid_class(env_id, factory, num_agents, kwargs)
    from empo_rllib.envs.rllib_env import in_a_config

    config = in_a_config(factory, num_agents, kwargs)
    if config is not None:
        kwargs = config
    elif num_agents is not None and "num_agents" in accepted_arguments(factory)[0]:
        kwargs = {**kwargs, "num_agents": num_agents}
    env = adapt(env_id, call_constructor(env_id, factory, kwargs))
    own_number = len(env.possible_agents)
    if num_agents is not None and num_agents != own_number:
        raise EnvError(
            f"env.num_agents = {num_agents}: the number of agents of {env_id} is {own_number} and "
            "not set this way. Leave num_agents out, or use an argument of its own in env.kwargs."
        )
    return env


def adapt(env_id: str, made: Any) -> ParallelEnv:
    """Returns an environment of any kind as a `ParallelEnv` whose agents are named by text.

    Args:
        env_id: what messages call it.
        made: the environment.

    Raises:
        EnvError: it is none, or no complete one.
    """
    from empo_rllib.envs.named_agents import with_names
    from empo_rllib.envs.texts import with_readable_texts

    try:
        env = with_readable_texts(with_names(_as_parallel_env(env_id, made)))
        len(env.possible_agents)
    except EnvError:
        raise
    except Exception as error:  # whatever a class that is not finished, or wraps nothing, raises
        raise EnvError(
            f"env.id = {env_id!r} made a {type(made).__name__} that is no complete environment: "
            f"{describe(error)}"
        ) from error
    return env


def _as_parallel_env(env_id: str, made: Any) -> ParallelEnv:
    """Adapts whatever a factory may return; the kinds are told apart by their classes' modules."""
    import gymnasium as gym
    from pettingzoo import AECEnv, ParallelEnv
    from pettingzoo.utils.conversions import turn_based_aec_to_parallel_wrapper

    from empo_rllib.envs.joint_env import JointParallelEnv, is_joint_env
    from empo_rllib.envs.rllib_env import RllibParallelEnv, is_rllib_env
    from empo_rllib.envs.turns import ByTurns

    if isinstance(made, turn_based_aec_to_parallel_wrapper):
        return ByTurns(made)
    if isinstance(made, ParallelEnv):
        if not hasattr(made, "possible_agents"):
            raise EnvError(f"env.id = {env_id!r}: the environment does not set possible_agents")
        return made
    if isinstance(made, AECEnv):
        return _parallel_from_aec(made)
    if isinstance(made, gym.Env) and _is_multigrid(type(made.unwrapped)):
        from empo_rllib.envs.multigrid import MultiGridParallelEnv

        return _with_layout(MultiGridParallelEnv(made))
    if is_rllib_env(made):
        return RllibParallelEnv(made)
    if isinstance(made, gym.Env) and is_joint_env(made):
        return JointParallelEnv(made)
    if isinstance(made, gym.Env):
        from empo_rllib.envs.gymnasium_env import GymnasiumParallelEnv

        return GymnasiumParallelEnv(made)
    raise EnvError(
        f"env.id = {env_id!r} made a {type(made).__name__}, which is no environment. It must "
        "return a PettingZoo ParallelEnv or AECEnv, a MultiGridEnv, RLlib's MultiAgentEnv or a "
        "gymnasium.Env."
    )


def _parallel_from_aec(env: Any) -> ParallelEnv:
    """Lets agents act at the same time where the environment says that they can, or by turns."""
    from pettingzoo.utils.conversions import aec_to_parallel, turn_based_aec_to_parallel

    from empo_rllib.envs.turns import ByTurns

    if env.metadata.get("is_parallelizable", False):
        return aec_to_parallel(env)
    return ByTurns(turn_based_aec_to_parallel(env))


def _is_multigrid(env_class: type) -> bool:
    return any(base.__module__ == "multigrid.base" for base in env_class.__mro__)


def _build_multigrid_class(
    env_id: str, env_class: type, num_agents: int | None, kwargs: dict[str, Any]
) -> ParallelEnv:
    """Builds a subclass of `MultiGridEnv`, whose argument for the agent count is `agents`."""
    from empo_rllib.envs.multigrid import MultiGridParallelEnv

    if "agents" in kwargs:
        raise EnvError("env.kwargs.agents: the number of agents is set by env.num_agents.")
    if num_agents == 9:
        raise EnvError(
            "env.num_agents = 9: multigrid 0.1.0 fails with exactly 9 agents (their number equals "
            "the length of an agent's state). Take 8 or 10."
        )
    names, complete = accepted_arguments(env_class)
    if complete:
        check_arguments(env_id, kwargs, names - {"agents", "mission_space"})
    _check_multigrid_values(kwargs)
    agents = {} if num_agents is None else {"agents": num_agents}
    grid: MultiGridEnv = call_constructor(env_id, env_class, {**kwargs, **agents})
    return _with_layout(MultiGridParallelEnv(grid, name=env_id))


def _check_multigrid_values(kwargs: dict[str, Any]) -> None:
    """Refuses values that multigrid 0.1.0 would take for something else without a word."""
    choices = {
        "render_mode": (*RENDER_MODES, None),
        "success_termination_mode": ("any", "all"),
        "failure_termination_mode": ("any", "all"),
        "joint_reward": (True, False),
        "allow_agent_overlap": (True, False),
        "see_through_walls": (True, False),
    }
    for name, allowed in choices.items():
        value = kwargs.get(name, allowed[0])
        if not any(value is choice or (value == choice and value != 1) for choice in allowed):
            raise EnvError(
                f"env.kwargs.{name} = {value!r} is not one of "
                f"{', '.join(str(choice).lower() for choice in allowed if choice is not None)}."
                + nearest(str(value), [str(choice) for choice in allowed])
            )
    steps = kwargs.get("max_steps")
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
        raise EnvError(f"env.kwargs.max_steps = {steps!r} must be an integer of at least 1.")


def _with_layout(env: Any) -> ParallelEnv:
    """Lays out one grid, so that impossible sizes and positions show now and not in training."""
    grid = env.env.unwrapped
    mode, grid.render_mode = grid.render_mode, None
    try:
        env.lay_out()
    except EnvError:
        raise
    except Exception as error:
        raise EnvError(
            f"{env.metadata['name']}: no grid can be laid out with these arguments in env.kwargs: "
            f"{describe(error)}"
        ) from error
    finally:
        grid.render_mode = mode
    env.agents = []
    return env
