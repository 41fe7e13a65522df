"""Shows and logs which environments do not return from a call, and which trials wait for them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from empo_rllib.envs.slow_calls import slow_call_reports
from empo_rllib.experiment.share import Share
from empo_rllib.files import write_whole

#: In the run folder.
SLOW_CALLS_FILE = "slow_env_calls.txt"
_LOOK_EVERY_S = 1.0


class SlowCalls:
    """Reads what the processes of running trials report.

    Args:
        env_id: The environment's.
        share: This process's trials, kept current by the monitor.
        notice: Shows a line.
    """

    def __init__(self, env_id: str, share: Share, notice: Callable[[str], None]) -> None:
        self._env_id = env_id
        self._share = share
        self._result = share.result
        self._notice = notice
        self._texts: dict[Path, str] = {}
        self._env_steps: dict[str, int] = {}  # of trials with reports, when the last was seen
        self._looked = 0.0

    def look(self) -> None:
        """Shows and logs what is new, at most once in a second."""
        if time.monotonic() - self._looked < _LOOK_EVERY_S:
            return
        self._looked = time.monotonic()
        for trial_id in self._running():
            reports = slow_call_reports(Path(self._result.folder) / trial_id)
            if not reports:
                self._env_steps.pop(trial_id, None)
            for report in reports:
                self._read(trial_id, report)

    def block_all(self) -> bool:
        """Whether no running trial has sampled anything since the last report about it."""
        running = self._running()
        return bool(running) and all(
            self._env_steps.get(trial_id) == self._result.trial(trial_id).env_steps
            for trial_id in running
        )

    def _running(self) -> list[str]:
        return [trial.trial_id for trial in self._share.trials() if trial.status == "running"]

    def _read(self, trial_id: str, report: Path) -> None:
        try:
            text = report.read_text().strip()
        except OSError:  # the call has returned
            return
        if self._texts.get(report) == text:
            return
        self._texts[report] = text
        self._env_steps[trial_id] = self._result.trial(trial_id).env_steps
        line = f"{trial_id}: {self._env_id}: {text}. Ctrl-C ends the run with what was saved."
        self._notice(line)
        log = Path(self._result.folder) / SLOW_CALLS_FILE
        with contextlib.suppress(OSError):
            earlier = log.read_text() if log.exists() else ""
            write_whole(log, f"{earlier}{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
