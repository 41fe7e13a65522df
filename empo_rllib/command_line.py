"""What the commands share: a user's mistake is one message and an exit code, never a traceback."""

from __future__ import annotations

import contextlib
import logging
import resource
import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from empo_rllib.errors import ConfigError, EmpoError
from empo_rllib.streams import lossy_output
from empo_rllib.terminal import PrintableFormatter, printable

# Ray, torch and numba reserve far more than they use. With less, their processes crash.
_ADDRESS_SPACE = 16 * 10**9

# The options of the commands that train.
ConfigOption = Annotated[Path, typer.Option(help="The experiment file.", show_default=False)]


def _check_overrides(overrides: list[str] | None) -> list[str] | None:
    """Refuses `--set seed 1` before the parser complains about the argument `1`."""
    from empo_rllib.config.load import apply_override

    for override in overrides or []:
        apply_override({}, override)
    return overrides


SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a key; repeatable.",
        callback=_check_overrides,
    ),
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the run of this name.")]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Remove the results that the name already has.")
]


@contextlib.contextmanager
def reporting_errors() -> Iterator[None]:
    """Prints an `EmpoError` to stderr and ends the process with its exit code.

    Output that cannot be written is discarded.
    """
    with lossy_output(), printable_logs():
        try:
            yield
        except EmpoError as error:
            echo(f"error: {error}", err=True)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            sys.exit(130)


def check_address_space() -> None:
    """Refuses a limit of memory under which Ray's processes would crash, one by one.

    Raises:
        ConfigError: `ulimit -v` is too low to train.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < _ADDRESS_SPACE:
        raise ConfigError(
            f"ulimit -v is {limit // 1024:,} kB: training needs {_ADDRESS_SPACE // 1024:,} kB of "
            "address space, of which it uses a small part. Type: ulimit -v unlimited"
        )


@contextlib.contextmanager
def printable_logs() -> Iterator[None]:
    """Makes warnings of this package, which nothing else handles, unable to steer a terminal."""
    handler = logging.lastResort
    if handler is None:
        yield
        return
    before = handler.formatter
    handler.setFormatter(PrintableFormatter())
    try:
        yield
    finally:
        handler.setFormatter(before)


def echo(text: str, err: bool = False, nl: bool = True) -> None:
    """Prints text as `typer.echo` does; what could steer a terminal is escaped."""
    typer.echo(printable(text), err=err, nl=nl)


def program_name(module: str) -> str:
    """Returns what the user has typed: the script `empo-rllib`, or `python -m` and a module."""
    script = Path(sys.argv[0]).name
    return script if script == "empo-rllib" else f"python -m {module}"


def render_command(
    program: str, config: str, overrides: Iterable[str], options: Iterable[str] = ()
) -> str:
    """Returns the line that runs an experiment as it was typed, for `--resume` to be added to.

    Args:
        program: What follows `python -m`.
        config: The experiment file.
        overrides: What each `--set` was given.
        options: Further arguments.
    """
    return f"python -m {program} {shlex.join([*experiment_arguments(config, overrides), *options])}"


def experiment_arguments(config: str, overrides: Iterable[str]) -> list[str]:
    """Returns the arguments that name an experiment."""
    return ["--config", config, *(part for key in overrides for part in ("--set", key))]
