"""Calling an environment's constructor so that a wrong argument gets one readable message."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Callable, Collection
from typing import Any

from empo_rllib.errors import EnvError, nearest

_UNEXPECTED = re.compile(r"(\w+)[\w.]*\(\) got an unexpected keyword argument '(\w+)'")
# What wrappers call the environment.
_WRAPPED = ("env", "aec_env", "par_env", "parallel_env")
_REPEATED = re.compile(r"got multiple values for keyword argument '(\w+)'")


def accepted_arguments(function: Callable[..., Any]) -> tuple[set[str], bool]:
    """Returns the names of the keyword arguments of `function` and whether these are all.

    A class is followed along its bases as far as `**kwargs` hands arguments on. A function with
    `**kwargs`, or a class with `*args, **kwargs`, may hand them anywhere: its list is not complete.
    Neither is that of a class whose bases take none: it uses `**kwargs` otherwise.
    """
    if not inspect.isclass(function):
        return _named_arguments(function)[:2]
    names: set[str] = set()
    is_open = False
    for base in function.__mro__:
        if "__init__" in vars(base):
            own, complete, hands_on = _named_arguments(vars(base)["__init__"])
            own -= {"self"}
            if complete or not hands_on:
                return names | own, complete and bool(own or not is_open)
            names, is_open = names | own, True
    return names, False


def _named_arguments(function: Callable[..., Any]) -> tuple[set[str], bool, bool]:
    """Returns the names, whether these are all, and whether the rest goes to a base class."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some C callables have no signature
        return set(), False, False
    kinds = {p.kind for p in parameters}
    open_ended = inspect.Parameter.VAR_KEYWORD in kinds
    hands_on = open_ended and inspect.Parameter.VAR_POSITIONAL not in kinds
    names = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return names, not open_ended, hands_on


def check_arguments(env_id: str, kwargs: dict[str, Any], names: Collection[str]) -> None:
    """Raises an EnvError that names every argument in `kwargs` which is not one of `names`."""
    unknown = [
        f"env.kwargs.{name}: {env_id} has no such argument.{nearest(name, names)}"
        for name in kwargs
        if name not in names
    ]
    if unknown:
        known = [f"It takes: {', '.join(sorted(names))}."] if names else []
        raise EnvError("\n".join(unknown + known))


def call_constructor(env_id: str, function: Callable[..., Any], kwargs: dict[str, Any]) -> Any:
    """Returns `function(**kwargs)`; any failure becomes an EnvError that says what is wrong."""
    names, complete = accepted_arguments(function)
    if complete:
        check_arguments(env_id, kwargs, names)
    _check_complete(env_id, function, kwargs)
    try:
        return function(**kwargs)
    except EnvError:
        raise
    except ImportError as error:
        raise EnvError(missing_package(env_id, error)) from error
    except Exception as error:
        if isinstance(error, TypeError):
            _explain_type_error(env_id, error, kwargs, names)
        raise EnvError(_failed(env_id, kwargs, error)) from error


def _check_complete(env_id: str, function: Callable[..., Any], kwargs: dict[str, Any]) -> None:
    """Refuses a call that lacks arguments.

    Some classes print a traceback when an object that could not be made is deleted.
    """
    try:
        parameters = inspect.signature(function, follow_wrapped=False).parameters.values()
    except (TypeError, ValueError):  # some C callables have no signature
        return
    missing = [
        p.name
        for p in parameters
        if p.default is p.empty
        and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        and p.name not in kwargs
    ]
    if missing:
        wraps = " It wraps an environment: name a function of your own that makes both."
        raise EnvError(
            f"env.id = {env_id!r} lacks arguments in env.kwargs: {', '.join(missing)}."
            + (wraps if missing[0] in _WRAPPED else "")
        )


def _explain_type_error(
    env_id: str, error: TypeError, kwargs: dict[str, Any], names: set[str]
) -> None:
    """Raises the EnvError for an argument that Python itself refused, if it is one of `kwargs`."""
    if (unexpected := _UNEXPECTED.search(str(error))) and unexpected[2] in kwargs:
        wrong = {unexpected[2]: kwargs[unexpected[2]]}
        accepted = (names | _arguments_of(unexpected[1], error)) - set(wrong) - {"kwargs"}
        check_arguments(env_id, wrong, accepted)
    if (repeated := _REPEATED.search(str(error))) and repeated[1] in kwargs:
        raise EnvError(
            f"env.kwargs.{repeated[1]}: {env_id} sets this argument itself. Remove it."
        ) from error


def _arguments_of(callee: str, error: TypeError) -> set[str]:
    """Returns the arguments of the class or function that the failing call was meant for."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
        if callable(value) and getattr(value, "__name__", None) == callee:
            return accepted_arguments(value)[0]
    return set()


def _failed(env_id: str, kwargs: dict[str, Any], error: Exception) -> str:
    given = ", ".join(f"{name}={value!r}" for name, value in kwargs.items()) or "no arguments"
    return f"env.id = {env_id!r} could not be made with {given}: {describe(error)}"


def describe(error: BaseException) -> str:
    """Returns one line for `error`; a bare assertion is told by the line that it stands in."""
    text = " ".join(str(error).split())
    if not text and (frames := traceback.extract_tb(error.__traceback__)):
        text = frames[-1].line or ""
    return f"{type(error).__name__}: {text}"


def missing_package(env_id: str, error: ImportError) -> str:
    """Returns the message for an environment whose own dependency is not installed.

    PettingZoo's advice to install its extras is not repeated: these bring `pygame-ce`, which
    overwrites the `pygame` that multigrid needs.
    """
    cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
    own_module = env_id.partition(":")[0]
    if isinstance(cause, ModuleNotFoundError) and f"{own_module}.".startswith(f"{cause.name}."):
        return f"env.id = {env_id!r}: there is no module {cause.name!r} here."
    if isinstance(cause, ModuleNotFoundError) and cause.name:
        return (
            f"env.id = {env_id!r} needs the module {cause.name!r}, which is not installed. "
            "Install the package that has it by its own name, without PettingZoo's extras "
            "(they replace pygame by pygame-ce, which breaks MultiGrid)."
        )
    return f"env.id = {env_id!r} could not be imported: {describe(cause)}"
