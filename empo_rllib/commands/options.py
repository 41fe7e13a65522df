"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

RunArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="A run folder (its best trial), a trial or a checkpoint.",
        show_default=False,
    ),
]
RunsArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN",
        help="Run folders (every trial), trials or checkpoints.",
        show_default=False,
    ),
]
SeedOption = Annotated[int, typer.Option(help="Episode i is played with seed + i.")]
GreedyOption = Annotated[
    bool | None,
    typer.Option(
        "--greedy/--sampled",
        help="Take the most likely actions, or sample them; default: sampled, for DQN greedy.",
        show_default=False,
    ),
]
CheckpointOption = Annotated[
    Literal["last", "best"],
    typer.Option(
        help="Which checkpoint of a trial: the newest, or the one with the best tune.metric."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]
