"""The types of MultiGrid objects that one environment knows.

`multigrid` 0.1.0 keeps one list of types for the whole process: each class of objects that any
module defines adds to it, or takes the place of one of multigrid's. An environment must not depend
on which others the process has imported: it knows multigrid's types and those of the modules that
its own class uses.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType

import numpy as np

# Imported by `envs.multigrid` only, which keeps the order of imports that multigrid needs.
from multigrid.base import MultiGridEnv  # isort: skip
from multigrid.core.constants import Type  # isort: skip
from multigrid.core.world_object import WorldObj, WorldObjMeta  # isort: skip

_MULTIGRID = WorldObj.__module__
#: How many types multigrid itself has; those of others follow.
_NUM_UPSTREAM = Type.agent.to_index() + 1


class ObjectTypes:
    """What an environment of one class knows.

    Args:
        env_class: the class of a `MultiGridEnv`.

    Attributes:
        count: how many types there are.
        classes: the class of each type, by the process's number of it.
        numbers: uint8 [256], the environment's number of each type of the process; None where all
            are the same.
    """

    def __init__(self, env_class: type) -> None:
        registered = WorldObjMeta._TYPE_IDX_TO_CLASS
        defined = _defined_classes()
        modules = _modules_used_by(env_class, {c.__module__ for c in defined})
        self.classes: dict[int, type] = {}
        for cls in defined:
            number = _number_of(cls)
            known = cls.__module__ == _MULTIGRID or cls.__module__ in modules
            # Of several classes of one type the process's wins, and otherwise the newest.
            if known and self.classes.get(number) is not registered.get(number):
                self.classes[number] = cls
        own = sorted(number for number in self.classes if number >= _NUM_UPSTREAM)
        self.count = _NUM_UPSTREAM + len(own)
        numbers = np.arange(256, dtype=np.uint8)
        numbers[own] = np.arange(_NUM_UPSTREAM, self.count)
        self.numbers = None if own == list(range(_NUM_UPSTREAM, self.count)) else numbers

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Lets multigrid make objects of this environment's classes."""
        registered = WorldObjMeta._TYPE_IDX_TO_CLASS
        WorldObjMeta._TYPE_IDX_TO_CLASS = self.classes
        try:
            yield
        finally:
            WorldObjMeta._TYPE_IDX_TO_CLASS = registered


def _defined_classes() -> list[type]:
    """Returns all classes of objects of the process, multigrid's first."""
    found: list[type] = []
    todo: list[type] = [WorldObj]
    while todo:
        classes: list[type] = todo.pop(0).__subclasses__()
        found += classes
        todo += classes
    return sorted(found, key=lambda cls: cls.__module__ != _MULTIGRID)


def _number_of(cls: type) -> int:
    return Type(vars(cls).get("type_name", cls.__name__.lower())).to_index()


def _modules_used_by(env_class: type, wanted: set[str]) -> set[str]:
    """Returns which modules an environment's class uses, directly or through others.

    Only packages of the class and of those that define objects (`wanted`) are looked through.
    """
    if wanted == {_MULTIGRID}:
        return set()
    todo = [cls.__module__ for cls in env_class.__mro__[: env_class.__mro__.index(MultiGridEnv)]]
    packages = {name.partition(".")[0] for name in (*todo, *wanted)} - {"multigrid"}
    used = set[str]()
    while todo:
        name = todo.pop()
        if name in used or name.partition(".")[0] not in packages or name not in sys.modules:
            continue
        used.add(name)
        for value in vars(sys.modules[name]).values():
            if isinstance(value, ModuleType):
                todo.append(value.__name__)
            elif isinstance(value, type | FunctionType):
                todo.append(value.__module__)
    return used
