"""`progress.csv` and TensorBoard events of one trial, always telling the same story.

Both hold one row per training iteration. On resume they are cut back to the restored
checkpoint, so that no step appears twice and no counter goes back.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROGRESS_FILE = "progress.csv"
_NOT_PLOTTED = ("timestamp", "training_iteration")


class ProgressFile:
    """Appends rows to `progress.csv` and, if wanted, to TensorBoard.

    A row with a key that no earlier row had makes the file be rewritten with the wider header,
    so every row has the same columns at any time.
    """

    def __init__(self, folder: Path, last_iteration: int, tensorboard: bool) -> None:
        """Opens the trial's files and drops rows after `last_iteration`."""
        self._path = folder / PROGRESS_FILE
        self._folder = folder
        self._rows = [
            row for row in read_progress(folder) if int(row["training_iteration"]) <= last_iteration
        ]
        self._columns = list(dict.fromkeys(key for row in self._rows for key in row))
        self._rewrite()
        self._writer: Any = None
        if tensorboard:
            self._start_events()

    @property
    def last_row(self) -> dict[str, float]:
        """The newest row, or an empty one."""
        return dict(self._rows[-1]) if self._rows else {}

    def append(self, row: Mapping[str, float]) -> None:
        """Writes one row through to disk."""
        stamped = {"timestamp": time.time(), **row}
        self._rows.append(stamped)
        new_columns = [key for key in stamped if key not in self._columns]
        if new_columns:
            self._columns += new_columns
            self._rewrite()
        else:
            with self._path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(stamped)
        if self._writer:
            self._add_scalars(stamped)
            self._writer.flush()

    def close(self) -> None:
        """Closes the TensorBoard file."""
        if self._writer:
            self._writer.close()

    def _rewrite(self) -> None:
        temporary = self._path.with_suffix(".tmp")
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(self._rows)
        os.replace(temporary, self._path)

    def _start_events(self) -> None:
        # Events cannot be cut, so they are written anew from the rows.
        from torch.utils.tensorboard import SummaryWriter

        for path in self._folder.glob("events.out.tfevents.*"):
            path.unlink()
        self._writer = SummaryWriter(str(self._folder))
        for row in self._rows:
            self._add_scalars(row)
        self._writer.flush()

    def _add_scalars(self, row: Mapping[str, float]) -> None:
        for key, value in row.items():
            if key not in _NOT_PLOTTED:
                self._writer.add_scalar(
                    key, value, global_step=int(row["env_steps"]), walltime=row["timestamp"]
                )


def read_progress(folder: Path) -> list[dict[str, float]]:
    """Returns the rows of a trial's `progress.csv`; a last line cut short is left out."""
    path = folder / PROGRESS_FILE
    if not path.exists():
        return []
    rows = []
    lines = path.read_text().splitlines(keepends=True)
    for raw in csv.DictReader(line for line in lines if line.endswith("\n")):
        if None in raw:  # more cells than columns
            continue
        try:
            row = {key: _number(value) for key, value in raw.items() if value}
        except (TypeError, ValueError):
            continue
        if "training_iteration" in row and None not in raw.values():
            rows.append(row)
    return rows


def _number(text: str) -> float:
    """A counter stays an integer, so that a row is written again as it was."""
    return int(text) if text.isdigit() else float(text)
