"""What people see while an experiment is prepared and runs.

On a terminal a spinner, then a table, both drawn over; elsewhere, also in notebooks, single lines.
`Display` only reads.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO, cast

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner

from empo_rllib import columns
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.console import SPINNER, PrintableConsole
from empo_rllib.experiment.cluster import Cluster
from empo_rllib.experiment.run_folder import run_folder_of
from empo_rllib.experiment.summary import ExperimentResult, TrialSummary
from empo_rllib.experiment.time_left import duration, may_end_earlier, time_left
from empo_rllib.experiment.trial_table import NONE, TrialTable, VariedParams, describe_counts
from empo_rllib.files import write_whole
from empo_rllib.streams import LossyStream
from empo_rllib.trials import sample_trials

_LINE_EVERY_S = 5.0
# Until there is a row, which may take minutes.
_SIGN_EVERY_S = 30.0
_FRAMES_PER_S = 4
# Of policies in a line.
_MAX_NAMES = 3
# In the run folder, where stderr could not be written.
DISPLAY_FILE = "display_lost.txt"


class Display:
    """Shows an experiment on stderr, in a notebook on stdout, while its context is open.

    Args:
        config: The experiment. Its headline is printed when the context is entered.
    """

    def __init__(self, config: ExperimentConfig) -> None:
        self._config = config
        self._result: ExperimentResult | None = None
        self._table: TrialTable | None = None
        self._varied: VariedParams | None = None
        self._rows: dict[str, Mapping[str, float]] = {}
        self._stream = LossyStream(_find_output)
        # In a notebook rich would draw with widgets, which are lost when the notebook is saved.
        self._console = PrintableConsole(file=cast("TextIO", self._stream), force_jupyter=False)
        self._is_loss_noted = False
        self._doing = "starting"
        self._since = self._last_line = time.monotonic()
        self._last_shown: dict[str, float] = {}
        self._last_status: dict[str, str] = {}
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self.notice(describe_experiment(self._config))
        if self._console.is_live:
            # rich draws in a thread of its own, so that nothing can go wrong in one that trains.
            self._live = Live(
                console=self._console,
                get_renderable=self._draw,
                refresh_per_second=_FRAMES_PER_S,
                transient=True,  # until there are trials to be seen
            )
            self._live.start(refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def doing(self, text: str) -> None:
        """Shows on a terminal what is being done before there are trials."""
        self._doing, self._since = text, time.monotonic()

    def follow(self, result: ExperimentResult) -> None:
        """Begins to show the trials of a run."""
        self._result = result
        self._last_status = {trial.trial_id: trial.status for trial in result.trials}
        self._table = TrialTable(self._config, result)
        self._varied = VariedParams(result)
        self.doing("building the first trials: environments, networks, compiled kernels")
        if self._live is not None:
            self._live.transient = False

    def update(self, trial_id: str, row: Mapping[str, float]) -> None:
        """Takes the newest row of a trial."""
        self._rows[trial_id] = row

    def notice(self, text: str) -> None:
        """Prints one line that stays."""
        self._console.print(text, soft_wrap=True, markup=False)

    def refresh(self) -> None:
        """Prints the next lines when it is time, where nothing is drawn over."""
        self._note_loss()
        if self._live is not None or self._result is None:
            return
        self._print_changes(self._result)
        waited = time.monotonic() - self._last_line
        if self._rows and waited >= _LINE_EVERY_S:
            self._print_rows(self._result)
        elif not self._rows and waited >= _SIGN_EVERY_S:
            self._last_line = time.monotonic()
            self.notice(self._sign_of_life())

    def stop(self) -> None:
        """Ends the live display, leaving the last state of the trials on the screen."""
        if self._live is not None:
            live, self._live = self._live, None
            self._doing = ""
            live.stop()

    def _draw(self) -> RenderableType:
        """Returns what is drawn over; rich calls it in its thread."""
        parts: list[RenderableType] = []
        if self._table is not None:
            size = self._console.size
            parts.append(self._table.render(self._rows, size.width, size.height - 1))
        if self._doing and not self._rows:
            parts.append(Spinner(SPINNER, escape(self._sign_of_life()), style="cyan"))
        return Group(*parts)

    def _sign_of_life(self) -> str:
        return f"{self._doing} ({duration(time.monotonic() - self._since)})"

    def _print_changes(self, result: ExperimentResult) -> None:
        """Prints a line for each of several trials that has started or ended."""
        if len(result.trials) == 1:
            return
        for trial in result.trials:
            if trial.status != self._last_status[trial.trial_id]:
                self._last_status[trial.trial_id] = trial.status
                params = self._varied.by_trial()[trial.trial_id] if self._varied else {}
                self.notice(change_line(self._config, result, trial, params))

    def _print_rows(self, result: ExperimentResult) -> None:
        self._last_line = time.monotonic()
        several = len(result.trials) > 1
        for trial in result.trials:
            if several and trial.status != "running":  # its end had a line of its own
                continue
            row = self._rows.get(trial.trial_id)
            if row is not None and self._last_shown.get(trial.trial_id) != row[columns.ENV_STEPS]:
                self._last_shown[trial.trial_id] = row[columns.ENV_STEPS]
                self.notice(progress_line(self._config, trial, row))

    def _note_loss(self) -> None:
        """Says once in the run folder that nothing is shown any more."""
        if self._stream.lost and not self._is_loss_noted and self._result is not None:
            self._is_loss_noted = True
            path = Path(self._result.folder) / DISPLAY_FILE
            with contextlib.suppress(OSError):
                write_whole(path, f"stderr: {self._stream.lost}. Training continues unseen.\n")


def describe_experiment(config: ExperimentConfig) -> str:
    """Returns the first line: what is trained, and where its results will be."""
    count = len(sample_trials(config))
    return (
        f"{config.name}: {', '.join(config.algorithm.names)} on {config.env.id}, "
        f"{count} trial{'s' * (count > 1)}, results in {short_path(run_folder_of(config))}"
    )


def describe_sampler(sampler: str, reason: str) -> str:
    """Returns the line about how trials sample."""
    return f"sampler: {sampler} ({reason})"


def networks_lines(networks: Mapping[str, str]) -> list[str]:
    """Returns a line for each way of training networks, with its policies if there are several."""
    policies: dict[str, list[str]] = {}
    for policy, path in networks.items():
        policies.setdefault(path, []).append(policy)
    if len(policies) == 1:
        return [f"networks: {path}" for path in policies]
    return [f"networks of {_some(names)}: {path}" for path, names in policies.items()]


def _some(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= _MAX_NAMES else f"{len(names)} policies"


def describe_learner(config: ExperimentConfig, gpus_per_learner: float, gpus: float) -> list[str]:
    """Returns the line about where trials learn, if that was left to be found.

    Args:
        config: the experiment.
        gpus_per_learner: what was found.
        gpus: that there are.
    """
    if config.resources.num_gpus_per_learner != "auto":
        return []
    if gpus_per_learner:
        found = f"{gpus_per_learner:g} GPU per learner"
    elif gpus < max(1, config.resources.num_learners):
        found = "CPU, no GPU found"
    else:
        found = "CPU, expected to be faster than a GPU for networks of this size"
    return [f"learner: {found} (num_gpus_per_learner: auto)"]


def describe_cluster(cluster: Cluster) -> list[str]:
    """Returns the line about the Ray dashboard, if there is one."""
    if not cluster.dashboard_url:
        return []
    login = f" (token: {cluster.token_file})" if cluster.token_file else ""
    return [f"Ray dashboard: {cluster.dashboard_url}{login}"]


def change_line(
    config: ExperimentConfig,
    result: ExperimentResult,
    trial: TrialSummary,
    params: Mapping[str, str],
) -> str:
    """Returns a line for a log: a trial that has started or ended, and the state of all.

    Args:
        config: The experiment.
        result: All trials.
        trial: The one that has started or ended.
        params: What it varies.
    """
    varied = "  ".join(f"{key} {value}" for key, value in params.items() if value != NONE)
    parts = [f"{trial.trial_id}  {trial.status}", varied]
    if trial.status != "running" and trial.episode_return_mean is not None:
        parts.append(f"return {trial.episode_return_mean:.3f}")
    told = "  ".join(part for part in parts if part)
    return f"{told}  ({describe_counts(config, result)})"


def short_path(path: str | Path) -> str:
    """Returns a path as people type it here: relative to the working folder, if it is inside."""
    absolute, here = Path(path), Path.cwd()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)


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
        "" if trial.status != "running" else _left(config, row),
    ]


def _left(config: ExperimentConfig, row: Mapping[str, float]) -> str:
    seconds = time_left(config, row)
    bound = "at most " if may_end_earlier(config) else ""
    return "" if seconds is None else f"{bound}{duration(seconds)}"


def progress_line(config: ExperimentConfig, trial: TrialSummary, row: Mapping[str, float]) -> str:
    """Returns a trial's progress as one line for a log."""
    steps, rate, episode_return, policies, left = progress_cells(config, trial, row)
    parts = [f"{trial.trial_id}  env steps {steps}", f"{rate}/s", f"return {episode_return}"]
    if policies:
        parts.append(f"({policies})")
    if left:
        parts.append(f"left {left}")
    return "  ".join(parts)


def _find_output() -> TextIO | None:
    """Returns what is printed to: rich puts a proxy in its place while it draws."""
    stream = sys.stdout if _is_notebook() else sys.stderr
    return getattr(stream, "rich_proxied_file", stream)


def _is_notebook() -> bool:
    # The shell of IPython's kernels. What a notebook prints to stderr looks like an error there.
    ipython = sys.modules.get("IPython")
    return ipython is not None and type(ipython.get_ipython()).__name__ == "ZMQInteractiveShell"
