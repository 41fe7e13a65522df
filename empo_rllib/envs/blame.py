"""Whose error it is: one message about what an environment's own code raised."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from empo_rllib.envs.arguments import describe
from empo_rllib.errors import EmpoError, EnvError

# Called by this package and by environments.
_LIBRARIES = ("numpy", "torch", "gymnasium.spaces")


def env_name(env: Any) -> str:
    """Returns what messages call an environment."""
    return str(getattr(env, "metadata", {}).get("name", getattr(env, "env", env)))


@contextlib.contextmanager
def blaming_env(env: Any, call: str, when: str = "") -> Iterator[None]:
    """Turns what an environment raises into an error that says so.

    What this package raised itself passes as it is.

    Args:
        env: the environment, or one of this package's around it.
        call: the method that is called, such as `step()`.
        when: in which episode and step.

    Raises:
        EnvError: the environment's code raised, or ended the process.
    """
    try:
        yield
    except EmpoError:
        raise
    except (Exception, SystemExit) as error:
        place = _place_in_env(error.__traceback__)
        if place is None:
            raise
        where = f" {when}" if when else ""
        raise EnvError(
            f"{env_name(env)}: the environment itself raised in {call}{where}, at {place}: "
            f"{describe(error)}.{_cure(error)}"
        ) from error


def _place_in_env(raised: TracebackType | None) -> str | None:
    """Returns the innermost line of the environment's code; None where there is none."""
    place = None
    for frame, line in traceback.walk_tb(raised):
        name = f"{frame.f_globals.get('__name__', '')}."
        if name.startswith("empo_rllib."):
            place = None
        elif not name.startswith(tuple(f"{library}." for library in _LIBRARIES)):
            place = f"{frame.f_code.co_filename}:{line}"
    return place


def _cure(error: BaseException) -> str:
    """Returns what helps where that is known."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f" Install the package that has {error.name!r}."
    if "display" in f"{type(error).__name__} {error}".lower():
        return " There is no screen here: type xvfb-run -a before the command."
    return ""
