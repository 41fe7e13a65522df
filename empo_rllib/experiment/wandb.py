"""Weights & Biases: the same rows, from the driver, never able to fail a run."""

from __future__ import annotations

import netrc
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

from ray import tune
from ray.tune.experiment import Trial

from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.experiment.summary import ExperimentResult
from empo_rllib.experiment.trial import TrialTask
from empo_rllib.files import write_whole

_SKIPPED = ("done", "stop_reason", "timestamp")
_INIT_TIMEOUT_S = 30

WandbMode = Literal["online", "offline", "disabled"]


class WandbLogger(tune.Callback):
    """One W&B run per trial; a resumed trial goes on in the same W&B run.

    The first problem with W&B is told once, and logging to it ends; training goes on.
    """

    def __init__(
        self, config: ExperimentConfig, result: ExperimentResult, notice: Callable[[str], None]
    ) -> None:
        self._config = config
        self._folder = Path(result.folder)
        self._notice = notice
        self._runs: dict[str, Any] = {}
        self._mode: WandbMode | None = None
        self._broken = False

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks to restore experiments; ours are never restored.
        return {}

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._try(self._start, TrialTask.of(trial.config))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self._try(self._log, TrialTask.of(trial.config).trial_id, result)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._try(self._finish, TrialTask.of(trial.config).trial_id)

    on_trial_error = on_trial_complete

    def _start(self, task: TrialTask) -> None:
        import wandb

        settings = self._config.logging.wandb
        if settings is None or task.trial_id in self._runs:
            return
        self._mode = self._mode or wandb_mode(settings.mode, self._notice)
        arguments: dict[str, Any] = {
            "project": settings.project,
            "group": settings.group or self._config.name,
            "name": f"{self._config.name}-{task.trial_id}",
            "id": run_id(self._folder, task.trial_id),
            "resume": "allow",
            "config": task.setup.config.to_dict(),
            "dir": str(self._folder / task.trial_id),
            "reinit": "create_new",
            "settings": wandb.Settings(silent=True, console="off", init_timeout=_INIT_TIMEOUT_S),
        }
        try:
            run = wandb.init(mode=self._mode, **arguments)
        except Exception as error:
            if self._mode != "online":
                raise
            self._notice(f"W&B cannot be reached ({error}), so it logs offline")
            self._mode = "offline"
            run = wandb.init(mode=self._mode, **arguments)
        self._runs[task.trial_id] = run

    def _log(self, trial_id: str, result: dict[str, Any]) -> None:
        row = {
            key: value
            for key, value in result.items()
            if isinstance(value, int | float) and key not in _SKIPPED
        }
        self._runs[trial_id].log(row, step=int(result["env_steps"]))

    def _finish(self, trial_id: str) -> None:
        run = self._runs.pop(trial_id, None)
        if run is not None:
            run.finish()

    def _try(self, action: Callable[..., None], *args: Any) -> None:
        if self._broken:
            return
        try:
            action(*args)
        except (Exception, SystemExit) as error:
            self._broken = True
            self._notice(f"W&B: {error}. Training goes on without it; nothing more is logged.")


def run_id(folder: Path, trial_id: str) -> str:
    """Returns the W&B run id of a trial: kept in a file, so that a resumed trial goes on in it."""
    path = folder / trial_id / "wandb_run_id"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, uuid.uuid4().hex[:8])
    return path.read_text().strip()


def wandb_mode(asked: WandbMode, notice: Callable[[str], None]) -> WandbMode:
    """Returns `asked`, or `offline` where `online` has no network or no key to log in with.

    `WANDB_MODE` tells of the network: SLURM jobs set it to `offline`.
    """
    if asked == "online" and os.environ.get("WANDB_MODE") == "offline":
        notice("W&B: logs offline (WANDB_MODE); send it later with `wandb sync`")
        return "offline"
    if asked == "online" and not _has_key():
        notice("W&B: no API key (WANDB_API_KEY or `wandb login`), so it logs offline")
        return "offline"
    return asked


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    try:
        return netrc.netrc().authenticators(host or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False
