"""`progress.csv` and TensorBoard events of one trial, always telling the same story.

Both hold one row per training iteration. On resume they are cut back to the restored
checkpoint, so that no step appears twice and no counter goes back.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from empo_rllib import columns
from empo_rllib.errors import RunError
from empo_rllib.files import set_aside, write_whole

Row = dict[str, float]
PROGRESS_FILE = "progress.csv"
_EVENTS = "events.out.tfevents.*"
_COUNTERS = ("agent_steps", "episodes")
_LOG = logging.getLogger(__name__)
# What the HPARAMS page shows of each trial: the newest values of these tags.
_COMPARED = (columns.EPISODE_RETURN_MEAN, columns.SUCCESS_RATE, columns.ENV_STEPS)
_NOT_PLOTTED = ("timestamp", "training_iteration")


class ProgressFile:
    """Appends rows to `progress.csv` and, if wanted, to TensorBoard.

    A row with a key that no earlier row had makes the file be rewritten with the wider header,
    so every row has the same columns at any time.
    """

    def __init__(
        self,
        folder: Path,
        last_iteration: int,
        tensorboard: bool,
        hyperparameters: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Opens the trial's files and drops rows after `last_iteration`.

        Args:
            folder: The trial's.
            last_iteration: The newest training iteration whose row stays.
            tensorboard: Whether to write events, too.
            hyperparameters: What TensorBoard's HPARAMS page compares trials by.
        """
        self._path = folder / PROGRESS_FILE
        self._folder = folder
        rows = read_rows_until(folder, last_iteration, rename_damaged=True)
        self._columns = list(dict.fromkeys(key for row in rows for key in row))
        self._last_row = rows[-1] if rows else {}
        self._rewrite(rows)
        self._writer: Any = None
        if tensorboard:
            self._start_events(rows, hyperparameters)

    @property
    def last_row(self) -> dict[str, float]:
        """The newest row, or an empty one."""
        return dict(self._last_row)

    def append(self, row: Mapping[str, float]) -> None:
        """Writes one row through to disk."""
        stamped = {"timestamp": time.time(), **row}
        new_columns = [key for key in stamped if key not in self._columns]
        if new_columns:
            # Not kept in memory, of which a long run would need ever more.
            last_iteration = int(self._last_row.get("training_iteration", 0))
            rows = read_rows_until(self._folder, last_iteration, rename_damaged=True)
            self._columns += new_columns
            self._rewrite([*rows, stamped])
        else:
            with self._path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(stamped)
                file.flush()
                os.fsync(file.fileno())  # a checkpoint must not outlast the rows before it
        self._last_row = stamped
        if self._writer:
            self._add_scalars(stamped)
            self._writer.flush()

    def close(self) -> None:
        """Closes the TensorBoard file."""
        if self._writer:
            self._writer.close()

    def _rewrite(self, rows: list[Row]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns)
        writer.writeheader()
        writer.writerows(rows)
        write_whole(self._path, text.getvalue())

    def _start_events(self, rows: list[Row], hyperparameters: Mapping[str, Any]) -> None:
        # Events cannot be cut, so they are written anew from the rows.
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        for path in self._folder.glob(_EVENTS):
            path.unlink()
        self._writer = SummaryWriter(str(self._folder))
        # `SummaryWriter.add_hparams` would make a run of its own for them.
        for summary in hparams(_plain(hyperparameters), dict.fromkeys(_COMPARED, 0.0)):
            self._writer.file_writer.add_summary(summary)
        for row in rows:
            self._add_scalars(row)
        self._writer.flush()

    def _add_scalars(self, row: Mapping[str, float]) -> None:
        for key, value in row.items():
            if key not in _NOT_PLOTTED:
                self._writer.add_scalar(
                    key, value, global_step=int(row["env_steps"]), walltime=row["timestamp"]
                )


def _plain(values: Mapping[str, Any]) -> dict[str, bool | float | str]:
    """Returns what TensorBoard takes; lists and mappings as text, without what is None."""
    return {
        key: value if isinstance(value, bool | int | float | str) else str(value)
        for key, value in values.items()
        if value is not None
    }


def read_rows_until(folder: Path, last_iteration: int, rename_damaged: bool = False) -> list[Row]:
    """Returns a trial's rows up to a checkpoint, for `--resume`.

    Where `progress.csv` is damaged or lacks the last of them, they are recovered from TensorBoard's
    events. A warning says so, or that they are lost. With `rename_damaged` the damaged file is kept
    under another name.
    """
    rows, reason = _readable_rows(folder, last_iteration)
    if _reach(rows, last_iteration):
        return rows
    path = folder / PROGRESS_FILE
    if rename_damaged and path.exists():
        set_aside(path)
    recovered = _rows_of_events(folder)[:last_iteration]
    if _reach(recovered, last_iteration):
        _LOG.warning("%s: %s. Recovered from TensorBoard's events.", path, reason)
        return recovered
    _LOG.warning("%s: %s. These rows are lost; training continues.", path, reason)
    return rows


def _readable_rows(folder: Path, last_iteration: int) -> tuple[list[Row], str]:
    """Returns the rows up to a checkpoint, and what is wrong where its row is not among them."""
    try:
        rows = read_progress(folder)
    except RunError as error:
        return [], str(error).removeprefix(f"{folder / PROGRESS_FILE}: ").rstrip(".")
    kept = [row for row in rows if row["training_iteration"] <= last_iteration]
    return kept, f"damaged: not every row up to iteration {last_iteration} can be read"


def _reach(rows: list[Row], last_iteration: int) -> bool:
    """Whether rows follow each other up to this iteration; the first ones may have been lost."""
    expected = range(last_iteration - len(rows) + 1, last_iteration + 1)
    is_whole = [row["training_iteration"] for row in rows] == list(expected)
    return is_whole and bool(rows) == bool(last_iteration)


def _rows_of_events(folder: Path) -> list[Row]:
    """Returns the rows that TensorBoard's events hold, to the seven digits that they keep."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not any(folder.glob(_EVENTS)):
        return []
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    rows: dict[int, Row] = {}
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag):
            row = rows.setdefault(event.step, {"timestamp": event.wall_time})
            row[tag] = round(event.value) if tag in _COUNTERS else event.value
    steps = sorted(rows)
    return [
        {**rows[step], "training_iteration": number, "env_steps": step}
        for number, step in enumerate(steps, start=1)
    ]


def read_progress(folder: Path) -> list[Row]:
    """Returns the rows of a trial's `progress.csv`; a last line cut short is left out.

    Raises:
        RunError: it is not text, or no table.
    """
    path = folder / PROGRESS_FILE
    if not path.exists():
        return []
    try:
        return _parse_rows(path.read_text("utf-8"))
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{path}: damaged: {error}.") from error


def _parse_rows(text: str) -> list[Row]:
    rows = []
    lines = text.splitlines(keepends=True)
    for raw in csv.DictReader(line for line in lines if line.endswith("\n")):
        if None in raw:  # more cells than columns
            continue
        try:
            row = {key: _number(value) for key, value in raw.items() if value}
        except (TypeError, ValueError):
            continue
        if isinstance(row.get("training_iteration"), int) and None not in raw.values():
            rows.append(row)
    return rows


def _number(text: str) -> float:
    """A counter stays an integer, so that a row is written again as it was."""
    return int(text) if text.isdigit() else float(text)
