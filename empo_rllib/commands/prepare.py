"""What commands do before their work begins."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from empo_rllib.experiment.run_folder import TrainedTrial
    from empo_rllib.results.find import TrainedRun


def find_runs(runs: Sequence[Path], settings: Sequence[str] = ()) -> list[TrainedRun]:
    """Finds checkpoints before anything imports Ray, so that a mistake is answered at once."""
    from empo_rllib.experiment.cluster import quiet_ray
    from empo_rllib.results.find import find_run
    from empo_rllib.results.settings import with_settings

    found = [find_run(run) for run in runs]
    for run in found:
        for trained in run.trials:
            with_settings(trained.config, settings)
    quiet_ray()
    return found


def find_trial(run: Path) -> TrainedTrial:
    """Finds one checkpoint as `find_runs` finds several; of a run folder that of its best trial."""
    from empo_rllib.experiment.cluster import quiet_ray
    from empo_rllib.experiment.run_folder import locate

    trained = locate(run)
    quiet_ray()
    return trained


def open_no_window() -> None:
    """Keeps SDL from opening a window or a sound device, which fails where there is no screen."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
