"""What commands do before their work begins."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from empo_rllib.console import Tell
    from empo_rllib.experiment.checkpoints import Which
    from empo_rllib.results.find import TrainedRun


def find_runs(runs: Sequence[Path], settings: Sequence[str], which: Which) -> list[TrainedRun]:
    """Finds checkpoints before anything imports Ray, so that a mistake is answered at once."""
    from empo_rllib.results.find import find_run
    from empo_rllib.results.settings import with_settings

    found = [find_run(run, which) for run in runs]
    for run in found:
        for trained in run.trials:
            with_settings(trained.config, settings)
    return found


@contextlib.contextmanager
def working_with_ray(text: str) -> Iterator[Tell]:
    """Shows what a command does, and imports Ray, which takes seconds."""
    from empo_rllib.console import working
    from empo_rllib.experiment.cluster import quiet_ray

    with working(text) as tell:
        quiet_ray()
        yield tell


def open_no_window() -> None:
    """Keeps SDL from opening a window or a sound device, which fails where there is no screen."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
