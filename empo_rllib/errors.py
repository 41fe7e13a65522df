"""Every error that this package raises on purpose.

EmpoError                   exit code 1
├── ConfigError             2   the experiment file, a --set or an argument is wrong
│   └── EnvError            2   the environment does not exist or cannot be made
├── ResourceError           2   more CPUs or GPUs asked for than there are
├── RunError                2   a run folder that is not one, is taken, or does not match
├── CheckpointError         2   a checkpoint that cannot be read
├── BundleError             2   a bundle that cannot be written, read or asked for this
├── ServiceError            2   a cluster's job service that does not answer or refuses
│   └── ServiceLost         1   one that answered before; how the run ended is not known
├── TrialError              1   training itself failed
└── Interrupted             75  stopped by a signal, with the state saved

The text of an error is the whole message for the user: place, value, rule, nearest match, fix.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable


class EmpoError(Exception):
    """Base of all errors of this package; `exit_code` is what the commands end with."""

    exit_code = 1


class ConfigError(EmpoError):
    """A bad experiment file, override or argument."""

    exit_code = 2


class EnvError(ConfigError):
    """An environment that does not exist or cannot be made with these arguments."""


class ResourceError(EmpoError):
    """A request for more CPUs or GPUs than there are."""

    exit_code = 2


class RunError(EmpoError):
    """A run folder that is not one, is taken, or does not match the experiment."""

    exit_code = 2


class CheckpointError(EmpoError):
    """A checkpoint that is missing, incomplete or unreadable."""

    exit_code = 2


class BundleError(EmpoError):
    """Policies that cannot be exported, a bundle that is damaged or none, or a wrong use of one."""

    exit_code = 2


class ServiceError(EmpoError):
    """The job service of a cluster does not answer, refuses, or has no such job."""

    exit_code = 2


class ServiceLost(ServiceError):
    """The job service answered before and does not any more."""

    exit_code = 1


class TrialError(EmpoError):
    """A trial failed while training."""


class Interrupted(EmpoError):
    """A signal stopped the run; its state is saved and `--resume` goes on."""

    exit_code = 75


def belongs_to_python(path: str) -> bool:
    """Whether `package.module` or `package.module:name` is of Python's own library.

    It has no environments, networks or callbacks, and importing some of it opens windows.
    """
    return re.split("[.:]", path)[0] in sys.stdlib_module_names


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Returns `" Did you mean 'x'?"` for the candidate closest to `name`, or `""`."""
    matches = difflib.get_close_matches(str(name), [str(c) for c in candidates], n=1, cutoff=0.6)
    return f" Did you mean {matches[0]!r}?" if matches else ""
