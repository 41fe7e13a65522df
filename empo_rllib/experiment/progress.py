"""What people see while an experiment runs.

On a terminal a compact live table; otherwise a line every few seconds. `Display` only reads.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO, cast

from rich.live import Live
from rich.markup import escape
from rich.table import Table

from empo_rllib import columns
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.console import PrintableConsole
from empo_rllib.experiment.cluster import Cluster
from empo_rllib.experiment.summary import ExperimentResult, TrialSummary
from empo_rllib.files import write_whole
from empo_rllib.streams import LossyStream

_LINE_EVERY_S = 5.0
_MAX_ROWS = 20
# In the run folder, where stderr could not be written.
DISPLAY_FILE = "display_lost.txt"


class Display:
    """Shows the trials of one experiment on stderr."""

    def __init__(self, config: ExperimentConfig, result: ExperimentResult) -> None:
        self._config = config
        self._result = result
        self._rows: dict[str, Mapping[str, float]] = {}
        self._session_start: dict[str, tuple[float, float]] = {}
        self._stream = LossyStream(lambda: sys.stderr)
        self._console = PrintableConsole(file=cast("TextIO", self._stream))
        self._is_loss_noted = False
        self._live: Live | None = None
        self._last_line = time.monotonic()
        self._last_shown: dict[str, float] = {}

    def start(self, cluster: Cluster, gpus_per_learner: float) -> None:
        """Prints where the experiment runs and begins to show progress."""
        for line in describe_start(self._config, self._result, cluster, gpus_per_learner):
            self._console.print(line, soft_wrap=True)
        if self._console.is_terminal:
            self._live = Live(self._table(), console=self._console, auto_refresh=False)
            self._live.start()

    def update(self, trial_id: str, row: Mapping[str, float]) -> None:
        """Takes the newest row of a trial."""
        self._rows[trial_id] = row

    def notice(self, text: str) -> None:
        """Prints one line that stays."""
        self._console.print(text, soft_wrap=True, markup=False)

    def refresh(self) -> None:
        """Redraws the table, or prints the next lines when it is time."""
        self._note_loss()
        if self._live is not None:
            self._live.update(self._table(), refresh=True)
        elif time.monotonic() - self._last_line >= _LINE_EVERY_S:
            self._last_line = time.monotonic()
            for trial in self._result.trials:
                row = self._rows.get(trial.trial_id)
                if (
                    row is not None
                    and self._last_shown.get(trial.trial_id) != row[columns.ENV_STEPS]
                ):
                    self._last_shown[trial.trial_id] = row[columns.ENV_STEPS]
                    self.notice(progress_line(self._config, trial, row))

    def stop(self) -> None:
        """Ends the live table, leaving its last state on the screen."""
        if self._live is not None:
            self._live.update(self._table(), refresh=True)
            self._live.stop()
            self._live = None

    def _note_loss(self) -> None:
        """Says once in the run folder that nothing is shown any more."""
        path = Path(self._result.folder) / DISPLAY_FILE
        if self._stream.lost and not self._is_loss_noted:
            self._is_loss_noted = True
            with contextlib.suppress(OSError):
                write_whole(path, f"stderr: {self._stream.lost}. Training continues unseen.\n")

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        names = ("trial", "status", "env steps", "steps/s", "return", "return per policy", "left")
        for name in names:
            table.add_column(name, justify="left" if name in names[:2] else "right")
        shown = sorted(self._result.trials, key=lambda trial: trial.status != "running")
        for trial in shown[:_MAX_ROWS]:
            row = self._rows.get(trial.trial_id, {})
            cells = progress_cells(self._config, trial, row)
            table.add_row(trial.trial_id, trial.status, *map(escape, cells))
        if len(shown) > _MAX_ROWS:
            table.add_row(f"and {len(shown) - _MAX_ROWS} more")
        return table


def describe_start(
    config: ExperimentConfig, result: ExperimentResult, cluster: Cluster, gpus_per_learner: float
) -> list[str]:
    """Returns the lines printed before the first result."""
    count = len(result.trials)
    lines = [
        f"[bold]{config.name}[/bold]: {config.algorithm.name} on {escape(config.env.id)}, "
        f"{count} trial{'s' * (count > 1)}, results in {escape(result.folder)}",
        f"sampler: {result.sampler} ({result.sampler_reason})",
    ]
    if config.resources.num_gpus_per_learner == "auto":
        found = f"{gpus_per_learner:g} GPU per learner" if gpus_per_learner else "CPU, no GPU found"
        lines.append(f"learner: {found} (num_gpus_per_learner: auto)")
    if cluster.dashboard_url:
        login = f" (log in with the token in {cluster.token_file})" if cluster.token_file else ""
        lines.append(f"Ray dashboard: {cluster.dashboard_url}{login}")
    return lines


def progress_cells(
    config: ExperimentConfig, trial: TrialSummary, row: Mapping[str, float]
) -> list[str]:
    """Returns env steps of target, steps/s, return, return per policy and time left."""
    if not row:
        return ["", "", "", "", ""]
    target = f" of {config.stop.env_steps:,}" if config.stop.env_steps else ""
    policies = [
        f"{key.removeprefix(columns.POLICY_RETURN_MEAN)} {value:.3f}"
        for key, value in row.items()
        if key.startswith(columns.POLICY_RETURN_MEAN)
    ]
    return [
        f"{int(row[columns.ENV_STEPS]):,}{target}",
        f"{row[columns.ENV_STEPS_PER_S]:,.0f}" if columns.ENV_STEPS_PER_S in row else "",
        f"{row[columns.EPISODE_RETURN_MEAN]:.3f}" if columns.EPISODE_RETURN_MEAN in row else "-",
        "  ".join(policies[:4]) + (" .." if len(policies) > 4 else ""),
        "" if trial.status != "running" else duration(time_left(config, row)),
    ]


def progress_line(config: ExperimentConfig, trial: TrialSummary, row: Mapping[str, float]) -> str:
    """Returns a trial's progress as one line for a log."""
    steps, rate, episode_return, policies, left = progress_cells(config, trial, row)
    parts = [f"{trial.trial_id}  env steps {steps}", f"{rate}/s", f"return {episode_return}"]
    if policies:
        parts.append(f"({policies})")
    if left:
        parts.append(f"left {left}")
    return "  ".join(parts)


def time_left(config: ExperimentConfig, row: Mapping[str, float]) -> float | None:
    """Seconds until the nearest limit, at the rate of the trial so far."""
    estimates = []
    elapsed = row[columns.TIME_S]
    for limit, done in (
        (config.stop.env_steps, row[columns.ENV_STEPS]),
        (config.stop.episodes, row[columns.EPISODES]),
        (config.stop.time_s, elapsed),
    ):
        if limit is not None and done > 0:
            estimates.append(max(0.0, elapsed * (limit - done) / done))
    return min(estimates) if estimates else None


def duration(seconds: float | None) -> str:
    """Formats seconds as `45s`, `3m05s` or `2h10m`."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
