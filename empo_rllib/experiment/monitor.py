"""Follows the trials from the driver: keeps `summary.json` and the display current."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.envs.env_warnings import read_warnings
from empo_rllib.errors import RunError
from empo_rllib.experiment import interrupt
from empo_rllib.experiment.checkpoints import newest_checkpoint, scored_checkpoints
from empo_rllib.experiment.metrics import is_settled, score_of
from empo_rllib.experiment.progress import Display
from empo_rllib.experiment.share import Share
from empo_rllib.experiment.summary import TrialSummary
from empo_rllib.experiment.trial import ERROR_FILE, TrialTask

_WRITE_EVERY_S = 10.0


class Monitor(tune.Callback):
    """A Tune callback that records what happens to each trial."""

    def __init__(self, config: ExperimentConfig, share: Share, display: Display) -> None:
        self._config = config
        self._share = share
        self._result = share.result
        self._display = display
        self._written = 0.0
        self._told: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks to restore experiments; ours are never restored.
        return {}

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        entry = self._entry(trial)
        entry.status = "running"
        interrupt.running_trials.add(entry.trial_id)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        entry = self._entry(trial)
        for key in ("env_steps", "agent_steps", "episodes"):
            setattr(entry, key, int(result[key]))
        entry.time_s = float(result["time_s"])
        entry.env_steps_per_s = entry.env_steps / entry.time_s if entry.time_s else None
        entry.episode_return_mean = result.get("episode_return_mean", entry.episode_return_mean)
        entry.metric = result.get(self._result.metric, entry.metric)
        entry.is_settled = is_settled(self._result.metric, result)
        for metric in self._result.objectives:
            if (score := score_of(result, metric)) is not None:
                entry.scores[metric] = score
        entry.stop_reason = result["stop_reason"]
        entry.env_runner_hosts = result["env_runner_hosts"]
        self._report_ignored(result["ignored_metrics"])
        self._display.update(entry.trial_id, result)
        if time.monotonic() - self._written > _WRITE_EVERY_S:
            self._tell_warnings(entry.trial_id)
            self._write()

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        entry = self._entry(trial)
        if entry.stop_reason:
            entry.status = "finished"
        elif interrupt.current.asked.is_set():
            entry.status = "interrupted"
        else:
            entry.status = "stopped"
            entry.stop_reason = f"stopped by ASHA at {entry.env_steps:,} env steps"
        self._ended(entry)

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        entry = self._entry(trial)
        reason = _last_line(self._error_text(trial))
        self._display.notice(
            f"{entry.trial_id} failed ({reason}); it goes on from its last checkpoint "
            f"(attempt {trial.num_failures + 1} of {self._config.tune.max_failures + 1})"
        )

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        entry = self._entry(trial)
        entry.status = "failed"
        entry.error = self._error_text(trial)
        self._ended(entry)

    def _report_ignored(self, ignored: Sequence[str]) -> None:
        """Says which metrics of the user's are not recorded."""
        for column in ignored:
            self._tell(f"not recorded, because it is not a number: {column}")

    def give_up(self, error: str) -> None:
        """Fails every trial of this process that is not over: nothing can train it any more."""
        for entry in self._share.trials():
            if entry.status in ("pending", "running"):
                entry.status, entry.error = "failed", error

    def finish(self, interrupted: bool) -> None:
        """Settles what is still open and writes the final summary."""
        self._look_at_all_checkpoints()
        with self._noticing_errors():
            self._share.settle(interrupted)

    def _tell_warnings(self, trial_id: str) -> None:
        """Shows what the environments of a trial warn of."""
        for text in read_warnings(Path(self._result.folder) / trial_id):
            self._tell(f"warning: {text}")

    def _tell(self, text: str) -> None:
        """Shows a line once for all trials."""
        if text not in self._told:
            self._told.add(text)
            self._display.notice(text)

    def _ended(self, entry: TrialSummary) -> None:
        interrupt.running_trials.discard(entry.trial_id)
        self._tell_warnings(entry.trial_id)
        self._write()

    def _error_text(self, trial: Trial) -> str:
        """What the trial wrote when it failed, or Tune's account of an actor that just died."""
        path = Path(self._result.folder) / self._entry(trial).trial_id / ERROR_FILE
        return path.read_text() if path.exists() else str(trial.get_error() or "its process died")

    def _entry(self, trial: Trial) -> TrialSummary:
        return self._result.trial(TrialTask.of(trial.config).trial_id)

    def _write(self) -> None:
        self._look_at_all_checkpoints()
        self._written = time.monotonic()
        with self._noticing_errors(), self._share.updating():
            pass

    @contextlib.contextmanager
    def _noticing_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RunError) as error:  # a full disk must not stop the trials from saving
            self._display.notice(f"summary.json cannot be written: {error}")

    def _look_at_all_checkpoints(self) -> None:
        for entry in self._share.trials():
            self._look_at_checkpoints(entry)

    def _look_at_checkpoints(self, entry: TrialSummary) -> None:
        run = Path(self._result.folder)
        newest = newest_checkpoint(run, entry.trial_id)
        if newest == entry.checkpoint:
            return
        entry.checkpoint = newest
        for score, checkpoint in scored_checkpoints(run / entry.trial_id, self._result.mode)[-1:]:
            entry.best_checkpoint = f"{entry.trial_id}/{checkpoint.name}"
            entry.best_score = score


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "unknown error"
