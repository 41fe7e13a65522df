"""Run folders as a report reads them: checked in full before anything is played or written.

Only text and numbers are read: YAML, JSON and CSV. Nothing in a folder is run or unpickled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from empo_rllib import columns
from empo_rllib.config.load import load_config
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.errors import RunError, nearest
from empo_rllib.experiment.checkpoints import POLICIES, find_checkpoints, newest_intact
from empo_rllib.experiment.progress_file import PROGRESS_FILE, read_progress
from empo_rllib.experiment.provenance import PROVENANCE_FILE
from empo_rllib.experiment.run_folder import CONFIG_FILE, TrainedTrial, read_trial
from empo_rllib.experiment.summary import (
    SUMMARY_FILE,
    ExperimentResult,
    TrialSummary,
    read_summary,
)
from empo_rllib.json_text import read_json
from empo_rllib.results.report.problems import first_problem
from empo_rllib.trials import has_values

_NEEDED_COLUMNS = (columns.ENV_STEPS, columns.TIME_S)


class Hardware(BaseModel):
    """What a run had."""

    host: str = "unknown host"
    platform: str = "unknown"
    cluster_nodes: int | None = None
    cluster_resources: dict[str, float] | None = None


class Session(BaseModel):
    """One start of a run, as `provenance.json` has it."""

    started: str = ""
    command: str
    working_folder: str = ""
    python: str = ""
    packages: dict[str, str | None] = {}
    code: dict[str, Any] = {}
    hardware: Hardware = Hardware()


class _Provenance(BaseModel):
    sessions: list[Session]


@dataclass(frozen=True)
class ReportedTrial:
    """A trial and all that it has reported.

    Attributes:
        folder: the trial's folder, which need not exist yet.
        summary: its entry in `summary.json`.
        config: its experiment, free of search spaces.
        rows: of `progress.csv`, one per training iteration.
    """

    folder: Path
    summary: TrialSummary
    config: ExperimentConfig
    rows: Sequence[dict[str, float]]

    @property
    def id(self) -> str:
        """The trial's id."""
        return self.summary.trial_id


@dataclass(frozen=True)
class ReportedRun:
    """A run folder's content.

    Attributes:
        folder: the run folder.
        label: what tells it from the other runs of the report.
        result: `summary.json`.
        config: `resolved_config.yaml`.
        config_text: the same, as it is written.
        sessions: of `provenance.json`; empty where that is missing.
        trials: in the order in which they started, without those whose values `tune.search` has
            yet to choose.
    """

    folder: Path
    label: str
    result: ExperimentResult
    config: ExperimentConfig
    config_text: str
    sessions: Sequence[Session]
    trials: Sequence[ReportedTrial]

    def trained(self, trial: ReportedTrial) -> TrainedTrial | None:
        """Returns the newest checkpoint of a trial, or None where it has none."""
        checkpoint = newest_intact(trial.folder, within=POLICIES)
        if checkpoint is None:
            return None
        return TrainedTrial(self.folder, self.result, trial.summary, trial.config, checkpoint)

    def ranked(self) -> list[ReportedTrial]:
        """Returns the trials that have a checkpoint, the best by the run's metric first.

        As in `best_of`, a mean over few episodes counts less than any other.
        """
        sign = -1 if self.result.mode == "max" else 1
        saved = [trial for trial in self.trials if find_checkpoints(trial.folder)]

        def rank(trial: ReportedTrial) -> tuple[bool, bool, float]:
            one = trial.summary
            return one.metric is None, not one.is_settled, sign * (one.metric or 0.0)

        return sorted(saved, key=rank)


def read_runs(paths: Sequence[str | Path]) -> list[ReportedRun]:
    """Reads run folders.

    Args:
        paths: At least one run folder, each once.

    Raises:
        RunError: one is no run folder, is damaged, cut short, or stands twice.
        ConfigError: the experiment in one is damaged.
    """
    folders = [Path(path).expanduser().absolute() for path in paths]
    for path, folder in zip(paths, folders, strict=True):
        _check_run_folder(path, folder)
    real = [folder.resolve() for folder in folders]
    for index, folder in enumerate(real):
        if folder in real[:index]:
            raise RunError(f"{paths[index]}: the same run folder stands twice. Name it once.")
    return [
        _read_run(folder, label) for folder, label in zip(folders, _labels(folders), strict=True)
    ]


def _check_run_folder(path: str | Path, folder: Path) -> None:
    if not folder.is_dir():
        siblings = [str(Path(path).parent / s.parent.name) for s in _runs_in(folder.parent)]
        kind = "is a file" if folder.is_file() else "no such folder"
        raise RunError(f"{path}: {kind}. Give a run folder.{nearest(str(path), siblings)}")
    if (folder / SUMMARY_FILE).is_file():
        return
    for parent in (folder.parent, folder.parent.parent):
        if (parent / SUMMARY_FILE).is_file():
            raise RunError(f"{path}: a part of a run. Give the run folder, {parent}.")
    inside = [str(summary.parent) for summary in _runs_in(folder)[:3]]
    hint = f" Did you mean {' or '.join(inside)}?" if inside else ""
    raise RunError(f"{path}: not a run folder: it has no {SUMMARY_FILE}.{hint}")


def _runs_in(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*/{SUMMARY_FILE}"))


def _labels(folders: Sequence[Path]) -> list[str]:
    """The folders' names, with as many parents as it takes to tell them apart."""
    for depth in range(1, max(len(folder.parts) for folder in folders)):
        labels = ["/".join(folder.parts[-depth:]) for folder in folders]
        if len(set(labels)) == len(labels):
            return labels
    return [str(folder) for folder in folders]


def _read_run(folder: Path, label: str) -> ReportedRun:
    result = read_summary(folder)
    path = folder / CONFIG_FILE
    config = load_config(path)
    return ReportedRun(
        folder=folder,
        label=label,
        result=result,
        config=config,
        config_text=path.read_text("utf-8"),
        sessions=_read_sessions(folder / PROVENANCE_FILE),
        trials=[
            _read_trial(folder, config, trial)
            for trial in result.trials
            if has_values(config, trial.spec)
        ],
    )


def _read_sessions(path: Path) -> list[Session]:
    try:
        return _Provenance.model_validate(read_json(path)).sessions
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        raise RunError(f"{path}: damaged: {first_problem(error)}.") from error
    except ValueError as error:
        raise RunError(f"{path}: damaged: {error}.") from error


def _read_trial(run: Path, config: ExperimentConfig, summary: TrialSummary) -> ReportedTrial:
    resolved = read_trial(run, config, summary)
    folder = run / summary.trial_id
    return ReportedTrial(folder, summary, resolved, _read_rows(folder, summary))


def _read_rows(folder: Path, summary: TrialSummary) -> list[dict[str, float]]:
    path = folder / PROGRESS_FILE
    if not path.is_file():
        if summary.env_steps:
            raise RunError(
                f"{path}: missing, though {SUMMARY_FILE} says {summary.env_steps:,} env steps."
            )
        return []
    try:
        rows = read_progress(folder)
        num_lines = path.read_bytes().count(b"\n")
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: damaged: {error}") from error
    _check_rows(path, rows, num_lines, summary)
    return rows


def _check_rows(
    path: Path, rows: list[dict[str, float]], num_lines: int, summary: TrialSummary
) -> None:
    missing = [key for key in _NEEDED_COLUMNS if any(key not in row for row in rows)]
    if missing:
        raise RunError(f"{path}: damaged: rows without {' and '.join(missing)}.")
    if len(rows) != max(0, num_lines - 1):
        raise RunError(
            f"{path}: damaged: {num_lines - 1 - len(rows)} of {num_lines - 1} rows cannot be read."
        )
    last = rows[-1][columns.ENV_STEPS] if rows else 0
    # A trial under way may be a row ahead of its summary, or behind one that was killed.
    if summary.is_over and last != summary.env_steps:
        raise RunError(
            f"{path}: cut short: it ends at {last:,.0f} env steps, {SUMMARY_FILE} says "
            f"{summary.env_steps:,}."
        )
