"""Options of `sbatch`: their spellings, which exclude each other, and their variables.

SLURM decides what an option means and whether it exists; only its name matters here.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from empo_rllib.errors import ConfigError

_LETTERS = {
    "A": "account",
    "a": "array",
    "b": "begin",
    "B": "extra-node-info",
    "c": "cpus-per-task",
    "C": "constraint",
    "d": "dependency",
    "D": "chdir",
    "e": "error",
    "F": "nodefile",
    "G": "gpus",
    "H": "hold",
    "i": "input",
    "J": "job-name",
    "k": "no-kill",
    "L": "licenses",
    "m": "distribution",
    "M": "clusters",
    "n": "ntasks",
    "N": "nodes",
    "o": "output",
    "O": "overcommit",
    "p": "partition",
    "q": "qos",
    "Q": "quiet",
    "s": "oversubscribe",
    "S": "core-spec",
    "t": "time",
    "v": "verbose",
    "w": "nodelist",
    "W": "wait",
    "x": "exclude",
}
# What sbatch refuses together, or where one undoes the other.
_RIVALS = (
    frozenset({"mem", "mem-per-cpu", "mem-per-gpu"}),
    frozenset({"cpus-per-task", "cpus-per-gpu"}),
    frozenset({"requeue", "no-requeue"}),
)
# Those of the others are SBATCH_ and the option's name.
_VARIABLES = {
    "array": ("SBATCH_ARRAY_INX",),
    "bb": ("SBATCH_BURST_BUFFER",),
    "clusters": ("SBATCH_CLUSTERS", "SLURM_CLUSTERS"),
    "cpu-freq": ("SBATCH_CPU_FREQ_REQ",),
    "hint": ("SBATCH_HINT", "SLURM_HINT"),
    "mem": ("SBATCH_MEM_PER_NODE",),
    "switches": ("SBATCH_REQ_SWITCH", "SBATCH_WAIT4SWITCH"),
    "time": ("SBATCH_TIMELIMIT",),
    "verbose": ("SBATCH_DEBUG",),
}
_FORM = re.compile(r"--([a-z][a-z0-9_-]+)(?:(?:=|\s+)(.*))?|-([A-Za-z])[=\s]*(.*)")
_NAME_ALONE = re.compile(r"--[a-z][a-z0-9_-]+|-[A-Za-z]")


class Option(NamedTuple):
    """An option of sbatch.

    Attributes:
        name: The long one, without dashes.
        value: None where there is none.
    """

    name: str
    value: str | None = None

    def render(self) -> str:
        """Returns it as a `#SBATCH` line takes it: there a backslash counts in any quotes."""
        if self.value is None:
            return f"--{self.name}"
        return f"--{self.name}={shlex.quote(self.value.replace(chr(92), chr(92) * 2))}"


def parse_option(text: str, place: str) -> Option:
    """Reads one option in any of its spellings: `--time=5`, `--time 5`, `-t 5`, `-t5`.

    Args:
        text: The option.
        place: What to call it in an error: where it was given.

    Raises:
        ConfigError: it is not an option of a job.
    """
    form = _FORM.fullmatch(text.strip())
    if form is None or (form[3] and form[3] not in _LETTERS):
        raise ConfigError(
            f"{place}: {text!r} is not an option for an sbatch job, such as --qos=high or -q high."
        )
    if form[3]:
        return Option(_LETTERS[form[3]], form[4] or None)
    return Option(form[1], form[2])


def parse_options(text: str, place: str) -> list[Option]:
    """Reads the options of a line, in which a shell's quotes and comments may be.

    Raises:
        ConfigError: a quote is not closed, or a word is no option and belongs to none.
    """
    try:
        words = shlex.split(text, comments=True)
    except ValueError as error:
        raise ConfigError(f"{place}: {text!r} cannot be read: {str(error).lower()}.") from None
    options: list[str] = []
    for word in words:
        if options and _NAME_ALONE.fullmatch(options[-1]) and not word.startswith("-"):
            options[-1] += f" {word}"
        else:
            options.append(word)
    return [parse_option(option, place) for option in options]


def override(options: Iterable[Option], given: Iterable[Option]) -> list[Option]:
    """Returns `options` with `given` in the place of what they replace or exclude."""
    replacing = {option.name: option for option in given}
    gone = {rival for name in replacing for rival in rivals_of(name)} - replacing.keys()
    kept = {option.name: option for option in options if option.name not in gone}
    return list((kept | replacing).values())


def without_rivals_of(variables: Mapping[str, str], options: Iterable[Option]) -> list[Option]:
    """Returns the options that let sbatch take what its variables say.

    A variable wins over a line of the same option, but one of memory loses, without a word, to
    any line of memory.
    """
    return [
        option
        for option in options
        if not any(v in variables for rival in rivals_of(option.name) for v in variables_of(rival))
    ]


def rivals_of(name: str) -> frozenset[str]:
    """Returns the other options that exclude this one."""
    return next((group - {name} for group in _RIVALS if name in group), frozenset())


def variables_of(name: str) -> tuple[str, ...]:
    """Returns the environment variables that stand for an option."""
    return _VARIABLES.get(name, (f"SBATCH_{name.upper().replace('-', '_')}",))
