"""Where in the environment's source something stands, as `file:line`."""

from __future__ import annotations

import inspect
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_OWN = Path(__file__).parents[1]
_LIBRARIES = tuple(
    Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib", "platstdlib")
)
# Interfaces: their methods only say that a subclass must have its own.
_INTERFACES = ("pettingzoo.utils.env", "gymnasium.core", "typing", "builtins", "abc")


class Places:
    """Finds lines of the class behind an environment, whatever adapts it.

    Args:
        env: as `make_env` returns it.
    """

    def __init__(self, env: Any) -> None:
        self._inner = innermost(env)
        self._files = set(_class_files(type(self._inner)))

    def of_method(self, name: str) -> str:
        """Returns the line of a method's `def`, or of the class where it has no own."""
        function = inspect.unwrap(getattr(self._inner, name, None) or type(self._inner))
        module = getattr(function, "__module__", "")
        code = getattr(inspect.unwrap(function), "__code__", None)
        if code is None or module in _INTERFACES:
            return self._of_class()
        return render_place(code.co_filename, code.co_firstlineno)

    def of_error(self, error: BaseException, method: str) -> str:
        """Returns the line in which an error was raised, as deep as the user's own code goes."""
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if not frame.filename.startswith("<") and not _below(frame.filename, _OWN)
        ]
        users = [f for f in frames if not any(_below(f.filename, path) for path in _LIBRARIES)]
        own = [frame for frame in frames if frame.filename in self._files]
        for frame in (users or own)[-1:]:
            return render_place(frame.filename, frame.lineno or 0)
        return self.of_method(method)

    def _of_class(self) -> str:
        try:
            file = inspect.getsourcefile(type(self._inner))
            return render_place(file or "", inspect.getsourcelines(type(self._inner))[1])
        except (OSError, TypeError):  # made on the fly, or written in C
            return ""


def innermost(env: Any) -> Any:
    """Returns the instance of the user's class inside adapters and wrappers."""
    inner = env
    while type(inner).__module__.startswith("empo_rllib.envs."):
        inner = inner.env
    return getattr(inner, "unwrapped", inner)


def render_place(file: str, line: int) -> str:
    """Returns `file:line`, the file as short as it stays unique."""
    path = Path(file)
    for folder in (Path.cwd(), *_LIBRARIES):
        if _below(file, folder):
            path = path.relative_to(folder)
            break
    return f"{path}:{line}"


def _class_files(cls: type) -> Iterator[str]:
    for base in cls.__mro__:
        if base.__module__ not in _INTERFACES:
            try:
                yield inspect.getsourcefile(base) or ""
            except TypeError:  # no Python class
                continue


def _below(file: str, folder: Path) -> bool:
    return Path(file).is_relative_to(folder)
