"""`export`: the command that writes policies as a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from empo_rllib.command_line import echo
from empo_rllib.commands.options import CheckpointOption, RunArgument
from empo_rllib.commands.prepare import working_with_ray


def export(
    run: RunArgument,
    out: Annotated[Path, typer.Option(help="The bundle's folder.", show_default=False)],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a bundle that is there.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the episodes that the bundle is checked on.")] = 0,
    checkpoint: CheckpointOption = "last",
) -> None:
    """Write the policies as a bundle, for use without Ray, torch and this package.

    The bundle appears when it acts as the policies do, on observations of real episodes.
    """
    from empo_rllib.experiment.run_folder import locate
    from empo_rllib.exporting.export import check_out, export
    from empo_rllib.results.evaluate import check_protocol

    check_protocol(1, seed)
    check_out(out.expanduser().absolute(), overwrite)
    trained = locate(run, checkpoint)
    with working_with_ray(f"Exporting {trained.checkpoint}") as tell:
        exported = export(trained, out, overwrite=overwrite, seed=seed, tell=tell)
    for name, check in exported.checks.items():
        echo(f"policy {name}: {check.equal_actions:,} of {check.observations:,} actions equal")
    echo(f"{out}: README.md there says how to use it")
