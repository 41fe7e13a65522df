"""`submit`: the command that puts an experiment on a Ray cluster or in a SLURM job."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from empo_rllib.command_line import (
    ConfigOption,
    OverwriteOption,
    ResumeOption,
    SetOption,
    echo,
    experiment_arguments,
    render_command,
)
from empo_rllib.commands.jobs import (
    AddressOption,
    TokenFileOption,
    cluster_options,
    follow_to_end,
    render_hints,
)
from empo_rllib.errors import ConfigError

if TYPE_CHECKING:
    from empo_rllib.config.schema import ExperimentConfig
    from empo_rllib.service.slurm import SlurmJob

_Include = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="PATH",
        help="Upload this file or folder of a package although its name looks like a secret; "
        "repeatable.",
        show_default=False,
    ),
]
_ListUpload = Annotated[
    bool,
    typer.Option(
        "--list-upload", help="Print the files that the job gets, with sizes; submit nothing."
    ),
]
# Their defaults are lines of cluster/ray_slurm.sh.
_SLURM = "With --slurm; defaults: the site's, else those of cluster/ray_slurm.sh"
_Nodes = Annotated[
    int | None,
    typer.Option(min=1, help="How many.", show_default=False, rich_help_panel=_SLURM),
]
_Array = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Spread the trials of a search over N jobs, each queued and requeued by itself.",
        show_default=False,
        rich_help_panel=_SLURM,
    ),
]
_Time = Annotated[
    str | None,
    typer.Option(
        metavar="D-HH:MM:SS",
        help="Time limit; out of time, the run is saved and the job queued again.",
        show_default=False,
        rich_help_panel=_SLURM,
    ),
]
_GpusPerNode = Annotated[
    str | None,
    typer.Option(
        metavar="[TYPE:]COUNT",
        help="GPUs of each node.",
        show_default=False,
        rich_help_panel=_SLURM,
    ),
]
_CpusPerNode = Annotated[
    int | None,
    typer.Option(min=1, help="CPUs of each node.", show_default=False, rich_help_panel=_SLURM),
]
_Sbatch = Annotated[
    list[str] | None,
    typer.Option(
        metavar="OPTION",
        help="Any other option of sbatch, such as --sbatch=--qos=high; repeatable.",
        show_default=False,
        rich_help_panel=_SLURM,
    ),
]
_NoContainer = Annotated[
    bool,
    typer.Option(
        "--no-container", help="Use .venv in the place of Apptainer.", rich_help_panel=_SLURM
    ),
]
_DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Print the job's script, and submit nothing.", rich_help_panel=_SLURM
    ),
]


@dataclass(frozen=True)
class _Typed:
    """The experiment as it was typed."""

    config: Path
    overrides: list[str]
    resume: bool
    overwrite: bool

    @property
    def start_options(self) -> list[str]:
        return ["--resume"] * self.resume + ["--overwrite"] * self.overwrite

    def load(self) -> ExperimentConfig:
        from empo_rllib.config.load import load_config
        from empo_rllib.experiment.run_folder import check_start_options

        experiment = load_config(self.config, self.overrides)
        check_start_options(self.resume, self.overwrite)
        return experiment


def submit(
    config: ConfigOption,
    set_: SetOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    address: AddressOption = None,
    token_file: TokenFileOption = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Print the log until the run ends.")
    ] = False,
    include: _Include = None,
    list_upload: _ListUpload = False,
    slurm: Annotated[
        bool, typer.Option("--slurm", help="Train in a SLURM job; type it in the repository.")
    ] = False,
    nodes: _Nodes = None,
    array: _Array = None,
    time: _Time = None,
    gpus_per_node: _GpusPerNode = None,
    cpus_per_node: _CpusPerNode = None,
    sbatch: _Sbatch = None,
    no_container: _NoContainer = False,
    dry_run: _DryRun = False,
) -> None:
    """Train an experiment on a running Ray cluster, or in a SLURM job, and print the job's id.

    With --follow the exit code is that of the run: 0 done; 1 a trial failed; 2 a mistake;
    75 interrupted, state saved. Ctrl-C then only ends the following (130).
    """
    requests: dict[str, object] = {
        "--nodes": nodes,
        "--array": array,
        "--time": time,
        "--gpus-per-node": gpus_per_node,
        "--cpus-per-node": cpus_per_node,
    }
    others = {"--sbatch": sbatch, "--no-container": no_container, "--dry-run": dry_run}
    of_ray: dict[str, object] = {
        "--address": address,
        "--token-file": token_file,
        "--follow": follow,
    }
    of_ray |= {"--include": include, "--list-upload": list_upload}
    _check_place(slurm, of_slurm={**requests, **others}, of_ray=of_ray)
    typed = _Typed(config, set_ or [], resume, overwrite)
    if slurm:
        _submit_to_slurm(typed, requests, sbatch or [], no_container, dry_run)
    elif list_upload:
        _list_upload(typed, include or [])
    else:
        _submit_to_ray(typed, include or [], address, token_file, follow)


def _check_place(
    slurm: bool, *, of_slurm: Mapping[str, object], of_ray: Mapping[str, object]
) -> None:
    """Refuses options of a Ray cluster for a SLURM job, and the other way round."""
    wrong = _given(of_ray if slurm else of_slurm)
    if wrong and slurm:
        raise ConfigError(
            f"{wrong}: not with --slurm, where the job has a Ray cluster of its own. Leave it out."
        )
    if wrong:
        raise ConfigError(f"{wrong}: only with --slurm. Add that, or leave it out.")


def _given(options: Mapping[str, object]) -> str:
    return ", ".join(name for name, value in options.items() if value not in (None, False, []))


def _list_upload(typed: _Typed, include: list[Path]) -> None:
    from empo_rllib.service.upload import render_upload

    echo(render_upload(typed.load(), include))


def _submit_to_ray(
    typed: _Typed,
    include: list[Path],
    address: str | None,
    token_file: Path | None,
    follow: bool,
) -> None:
    from empo_rllib.service.client import connect
    from empo_rllib.service.submit import submit_experiment

    experiment = typed.load()
    where = cluster_options(address, token_file)
    wanted = [part for path in include for part in ("--include", str(path))]
    options = [*wanted, *where]
    command = render_command("empo_rllib submit", str(typed.config), typed.overrides, options)
    client = connect(address, token_file)
    job_id = submit_experiment(client, experiment, command, typed.start_options, include)
    if follow:
        echo(f"job {job_id}", err=True)
        follow_to_end(client, job_id, where)
    echo(job_id)
    echo(render_hints(job_id, where), err=True)


def _submit_to_slurm(
    typed: _Typed,
    requests: Mapping[str, Any],
    others: Iterable[str],
    no_container: bool,
    dry_run: bool,
) -> None:
    from empo_rllib.experiment.run_folder import check_new_run, run_folder_of
    from empo_rllib.experiment.share import check_shareable
    from empo_rllib.service import slurm

    slurm.check_repository()
    options = slurm.read_typed_options(requests, others)
    experiment = typed.load()
    if "array" in dict(options):
        check_shareable(experiment, requests["--array"])
    folder = run_folder_of(experiment)
    arguments = [
        *["--no-container"] * no_container,
        *experiment_arguments(str(typed.config), typed.overrides),
        *typed.start_options,
    ]
    header = slurm.read_header(slurm.JOB_SCRIPT)
    job = slurm.build_job(header, experiment.name, options, arguments, os.environ)
    if dry_run:
        _print_job(job)
        return
    if not typed.resume:
        check_new_run(folder, typed.overwrite)  # now, not when the job has waited for its turn
    answer = slurm.run_sbatch(job)
    echo(answer.stderr, err=True, nl=False)
    echo(answer.stdout, nl=False)
    if hints := slurm.render_hints(job, answer.stdout):
        echo(hints, err=True)
    raise typer.Exit(answer.returncode)


def _print_job(job: SlurmJob) -> None:
    from empo_rllib.service.slurm import render_job

    echo(render_job(job), nl=False)
    for name, value in job.variables.items():
        echo(f"note: {name}={value} in the environment wins over these lines", err=True)
