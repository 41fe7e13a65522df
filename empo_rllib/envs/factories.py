"""Whether something that an experiment names makes environments, told before it is called.

A run folder may be somebody else's, and its `env.id` may name any function of any package that is
installed, with arguments for it.
"""

from __future__ import annotations

import functools
import inspect
import sys
from typing import Any, get_type_hints

from empo_rllib.errors import EnvError

_LIBRARIES = ("empo_rllib", "gymnasium", "multigrid", "pettingzoo")
# Their functions do much else, some of it with what they are given.
_OTHERS = (*sys.stdlib_module_names, "empo_rllib", "ray", "torch")
# What makes environments of the libraries' own functions: others register them, or write videos.
_MAKERS = ("env", "make", "par_fn", "parallel_env", "raw_env")


def check_makes_environments(env_id: str, factory: Any) -> None:
    """Refuses a factory that is known not to make environments, without calling it.

    A class must be an environment's. A function must be of a module that has to do with
    environments (it names their libraries or classes), or say that it returns one.

    Raises:
        EnvError: it does not look like one.
    """
    while isinstance(factory, functools.partial):
        factory = factory.func
    if inspect.isclass(factory):
        if _is_environment(factory):
            return
        reason = "is a class, but no ParallelEnv, AECEnv, MultiGridEnv or gymnasium.Env"
    elif inspect.isfunction(factory) and _has_to_do_with_environments(inspect.unwrap(factory)):
        return
    else:
        reason = (
            "is not called: nothing tells that it makes an environment. A function of your own "
            "says so by its return annotation, such as -> pettingzoo.ParallelEnv"
        )
    raise EnvError(f"env.id = {env_id!r} {reason}.")


def _is_environment(value: Any) -> bool:
    import gymnasium as gym
    from pettingzoo import AECEnv, ParallelEnv

    return inspect.isclass(value) and issubclass(value, ParallelEnv | AECEnv | gym.Env)


def _has_to_do_with_environments(function: Any) -> bool:
    package = function.__module__.partition(".")[0]
    if package in _OTHERS or (package in _LIBRARIES and function.__name__ not in _MAKERS):
        return False
    try:
        if _is_environment(get_type_hints(function).get("return")):
            return True
    except Exception:  # annotations may name what is not there
        pass
    used = {name.partition(".")[0] for name in function.__code__.co_names}
    return bool(used & set(_LIBRARIES)) or any(map(_tells, function.__globals__.values()))


def _tells(value: Any) -> bool:
    """Whether a name of the function's module stands for an environment or one of the libraries."""
    if inspect.ismodule(value):
        return value.__name__.partition(".")[0] in _LIBRARIES
    module = getattr(value, "__module__", None) or ""
    return _is_environment(value) or str(module).partition(".")[0] in _LIBRARIES
