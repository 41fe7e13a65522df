"""An experiment as a SLURM job: a short script that hands over to cluster/ray_slurm.sh."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from empo_rllib.errors import ConfigError, ServiceError
from empo_rllib.service.sbatch_options import (
    Option,
    override,
    parse_option,
    parse_options,
    rivals_of,
    variables_of,
    without_rivals_of,
)

JOB_SCRIPT = Path("cluster/ray_slurm.sh")
# The site's own options of sbatch, for which there are no variables of SLURM's.
SITE_OPTIONS = "EMPO_RLLIB_SBATCH_OPTIONS"
# A node has one task.
_NAMES = {"--cpus-per-node": "cpus-per-task"}
_DIRECTIVE = "#SBATCH"
# As sbatch tells it, also with --parsable and for another cluster.
_JOB_ID = re.compile(r"^(?:Submitted batch job )?(\d+)(?:;.*| on cluster .*)?$", re.MULTILINE)


@dataclass(frozen=True)
class SlurmJob:
    """What sbatch is given.

    Attributes:
        options: Those in the script.
        arguments: Of cluster/ray_slurm.sh.
        environment: Of sbatch, whose variables win over the script's options.
    """

    options: list[Option]
    arguments: list[str]
    environment: dict[str, str]

    @property
    def variables(self) -> dict[str, str]:
        """Those that sbatch takes options from."""
        return {k: v for k, v in sorted(self.environment.items()) if k.startswith("SBATCH_")}

    def value_of(self, name: str) -> str | None:
        """Returns what an option will be, None where nothing says."""
        told = (self.environment.get(variable) for variable in variables_of(name))
        return next((value for value in told if value), dict(self.options).get(name))


def check_repository() -> None:
    """Refuses a folder without `JOB_SCRIPT`: a job looks for it where it was submitted.

    Raises:
        ConfigError: as said.
    """
    if not JOB_SCRIPT.is_file():
        raise ConfigError(
            f"--slurm: there is no {JOB_SCRIPT} in {Path.cwd()}. Type this in the repository, in a "
            "folder that the nodes share."
        )


def read_typed_options(requests: Mapping[str, object], others: Iterable[str]) -> list[Option]:
    """Returns sbatch's options for those of the command.

    Args:
        requests: By their names in the command; None for one that was not given. `--array` is the
            number of jobs.
        others: What each `--sbatch` was given.

    Raises:
        ConfigError: one is not an option of sbatch.
    """
    named = [
        parse_option(f"--{_NAMES.get(name, name[2:])}={_value(name, value)}", name)
        for name, value in requests.items()
        if value is not None
    ]
    return named + [parse_option(text, "--sbatch") for text in others]


def _value(name: str, value: object) -> object:
    return f"0-{int(str(value)) - 1}" if name == "--array" else value


def read_header(script: Path) -> list[Option]:
    """Returns the options in a job script's `#SBATCH` lines, which end where its commands begin."""
    options: list[Option] = []
    for line in script.read_text("utf-8").splitlines():
        if line.startswith(f"{_DIRECTIVE} "):
            options += parse_options(line.removeprefix(_DIRECTIVE), str(script))
        elif line.strip() and not line.startswith("#"):
            break
    return options


def build_job(
    header: Iterable[Option],
    name: str,
    typed: Iterable[Option],
    arguments: Iterable[str],
    environment: Mapping[str, str],
) -> SlurmJob:
    """Puts together what holds for a job.

    What was typed wins over sbatch's variables, these over the site's `SITE_OPTIONS`, and those
    over the header.

    Args:
        header: The defaults.
        name: Of the job, unless an option says otherwise.
        typed: The user's options.
        arguments: Of cluster/ray_slurm.sh.
        environment: The user's.

    Raises:
        ConfigError: `SITE_OPTIONS` cannot be read.
    """
    typed = list(typed)
    names = {name for option in typed for name in (option.name, *rivals_of(option.name))}
    silenced = {variable for option in names for variable in variables_of(option)}
    kept = {key: value for key, value in environment.items() if key not in silenced}
    site = parse_options(environment.get(SITE_OPTIONS, ""), SITE_OPTIONS)
    others = [option for option in header if option.name != "job-name"]
    defaults = override([Option("job-name", name), *others], site)
    options = override(without_rivals_of(kept, defaults), typed)
    return SlurmJob(options, list(arguments), kept)


def render_job(job: SlurmJob) -> str:
    """Returns the job's script."""
    lines = [
        "#!/usr/bin/env bash",
        *(f"{_DIRECTIVE} {option.render()}" for option in job.options),
        f'exec "$SLURM_SUBMIT_DIR/{JOB_SCRIPT}" {shlex.join(job.arguments)}',
    ]
    return "\n".join(lines) + "\n"


def run_sbatch(job: SlurmJob) -> subprocess.CompletedProcess[str]:
    """Submits a job; returns what sbatch printed, and its exit code.

    That is not 0 for a job that failed, if sbatch was told to wait for it.

    Raises:
        ServiceError: there is no sbatch, or it did not take the job.
    """
    try:
        answer = subprocess.run(
            ["sbatch"],
            input=render_job(job),
            env=job.environment,
            capture_output=True,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise ServiceError(
            f"sbatch cannot be run: {error.strerror}. Type this where jobs are submitted, with "
            "SLURM's commands in PATH; --dry-run prints the job anywhere."
        ) from error
    if answer.returncode != 0 and not _JOB_ID.search(answer.stdout):
        raise ServiceError(f"sbatch did not take the job: {_last_words(answer)}")
    return answer


def render_hints(job: SlurmJob, answer: str) -> str:
    """Returns how to follow and stop the job that sbatch told of; "" if it told of none."""
    found = _JOB_ID.search(answer)
    if found is None:
        return ""
    return f"follow  tail -F {_log_file(job, found[1])}\nstop    scancel {found[1]}"


def _last_words(answer: subprocess.CompletedProcess[str]) -> str:
    lines = (answer.stderr.strip() or answer.stdout.strip()).splitlines()
    words = [re.sub(r"^sbatch: (error: |fatal: )?", "", line.strip()) for line in lines]
    return "; ".join(filter(None, words)) or f"it ended with exit code {answer.returncode}"


def _log_file(job: SlurmJob, job_id: str) -> str:
    """Returns the job's log in a shell's words, with `*` for what is not known before it runs.

    Each job of an array has an id (`%j`) and a log of its own.
    """
    is_array = job.value_of("array") is not None
    known = {"A": job_id, "x": job.value_of("job-name") or "*"} | (
        {} if is_array else {"j": job_id}
    )
    pattern = job.value_of("output") or ("slurm-%A_%a.out" if is_array else "slurm-%j.out")
    file = re.sub(r"%\d*([a-zA-Z])", lambda symbol: known.get(symbol[1], "*"), pattern)
    return os.path.join(job.value_of("chdir") or "", file)
