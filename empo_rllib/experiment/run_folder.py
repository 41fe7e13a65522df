"""The run folder `<storage_path>/<name>/` and how to find one's way in it.

resolved_config.yaml    the experiment with every default filled in
provenance.json         what ran it: versions, commit, hardware, command lines
summary.json            what came out (`experiment/summary.py`)
trial_00000/            progress.csv, TensorBoard events, checkpoint_000010/ ...
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from empo_rllib.config.load import load_config
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.config.search_space import open_values
from empo_rllib.errors import CheckpointError, ConfigError, RunError
from empo_rllib.experiment.checkpoints import (
    POLICIES,
    Mode,
    Which,
    best_intact,
    check_intact,
    newest_intact,
    read_counters,
    read_policy,
)
from empo_rllib.experiment.progress_file import read_rows_until
from empo_rllib.experiment.summary import SUMMARY_FILE, ExperimentResult, TrialSummary, read_summary
from empo_rllib.files import remove, write_whole
from empo_rllib.trials import resolve_trial

if TYPE_CHECKING:
    import numpy as np

CONFIG_FILE = "resolved_config.yaml"
# Held while a process trains: by it alone, or by the jobs of an array together. Files whose names
# begin so are locks, too, and stay when a run is removed.
LOCK_FILE = ".lock"
ARRAY_LOCK_FILE = f"{LOCK_FILE}_array"
# Bytes: less than the files of any run.
_SMALLEST_ROOM = 1 << 16


@dataclass(frozen=True)
class TrainedTrial:
    """A checkpoint with the experiment that made it.

    Attributes:
        run: the run folder.
        summary: the run's summary.
        trial: the trial's entry in it.
        config: the trial's experiment, free of search spaces.
        checkpoint: the checkpoint's folder.
    """

    run: Path
    summary: ExperimentResult
    trial: TrialSummary
    config: ExperimentConfig
    checkpoint: Path


def run_folder_of(config: ExperimentConfig) -> Path:
    """Returns the absolute run folder of an experiment.

    Raises:
        ConfigError: `storage_path` is a URI of something that is not a mounted file system.
    """
    parsed = urlparse(config.storage_path)
    if parsed.scheme == "file" and parsed.netloc in ("", "localhost"):
        root = Path(unquote(parsed.path))
    elif "://" in config.storage_path:
        raise ConfigError(
            f"storage_path = {config.storage_path!r}: only paths and file:///path URIs can hold "
            "runs. Mount the bucket on every node and give its path."
        )
    else:
        root = Path(config.storage_path).expanduser()
    return (root / config.name).absolute()


def check_start_options(resume: bool, overwrite: bool) -> None:
    """Refuses both at once with a ConfigError."""
    if resume and overwrite:
        raise ConfigError(
            "--resume and --overwrite exclude each other (in Python: resume and overwrite)."
        )


def create_run_folder(config: ExperimentConfig, overwrite: bool) -> Path:
    """Makes the empty run folder of a new experiment.

    Raises:
        RunError: the name already has results and `overwrite` is not set.
        ConfigError: the folder cannot be written.
    """
    folder = run_folder_of(config)
    check_new_run(folder, overwrite)
    with refusing_unwritable(config):
        folder.mkdir(parents=True, exist_ok=True)
        with lock_run(folder):
            for path in _files_of_run(folder):
                remove(path)
            write_whole(folder / CONFIG_FILE, config.to_yaml())
    return folder


def check_new_run(folder: Path, overwrite: bool) -> None:
    """Refuses to start over an existing run, or to remove a folder that is not a run.

    Raises:
        RunError: as said.
    """
    if not folder.exists() or (folder.is_dir() and not _files_of_run(folder)):
        return
    if not (folder / CONFIG_FILE).is_file():
        raise RunError(
            f"{folder} exists and is not a run folder. Choose another name or storage_path."
        )
    if not overwrite:
        ways = "start again with --overwrite (in Python: overwrite=True), or choose another name"
        if (folder / SUMMARY_FILE).is_file():
            ways = f"continue with --resume (in Python: resume=True), {ways}"
        raise RunError(f"{folder} already has results. {ways[0].upper()}{ways[1:]}.")


def _files_of_run(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(LOCK_FILE)]


def check_trial(folder: Path) -> None:
    """Reports by warnings which files of a trial are damaged and what `--resume` does about it.

    Raises:
        CheckpointError: all checkpoints are damaged.
    """
    checkpoint = newest_intact(folder)
    if checkpoint is not None:
        read_rows_until(folder, read_counters(checkpoint)["training_iteration"])


@contextlib.contextmanager
def lock_run(folder: Path, name: str = LOCK_FILE, shared: bool = False) -> Iterator[None]:
    """Holds the run folder for this process; the lock goes with it, however it ends.

    Args:
        folder: The run folder.
        name: The file of the lock.
        shared: Whether others may hold it shared, too.

    Raises:
        RunError: another process trains in this folder.
    """
    with (folder / name).open("a+") as file:  # which leaves it as it was
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"{folder} is being written by another process. Wait for it, stop it, or choose "
                "another name."
            ) from None
        yield


def is_free(folder: Path) -> bool:
    """Whether no process trains in this folder."""
    try:
        with lock_run(folder):
            return True
    except RunError:
        return False


@contextlib.contextmanager
def wait_for_array_lock(folder: Path) -> Iterator[None]:
    """Waits until no other job of an array reads or writes the files that all of them share."""
    with (folder / ARRAY_LOCK_FILE).open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_writable(config: ExperimentConfig) -> None:
    """Refuses a `storage_path` that cannot be written, without writing anything.

    Raises:
        ConfigError: as said.
    """
    folder = run_folder_of(config)
    parent = next(path for path in [folder, *folder.parents] if path.exists())
    if not parent.is_dir():
        raise _unwritable(config, NotADirectoryError(f"{parent} is not a folder"))
    if not os.access(parent, os.W_OK | os.X_OK) or os.statvfs(parent).f_flag & os.ST_RDONLY:
        raise _unwritable(config, PermissionError(f"no permission to write to {parent}"))
    try:
        _try_to_write(parent)
    except OSError as error:
        reason = f"nothing can be made in {parent} ({error.strerror})"
        raise _unwritable(config, PermissionError(reason)) from error


def _try_to_write(folder: Path) -> None:
    """Raises OSError where `_SMALLEST_ROOM` cannot be written, and leaves no trace otherwise.

    Permissions do not tell all: root has every one, also in /proc and on a full disk.
    """
    with tempfile.TemporaryFile(prefix=".empo-", dir=folder) as file:
        file.write(bytes(_SMALLEST_ROOM))
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def refusing_unwritable(config: ExperimentConfig) -> Iterator[None]:
    """Turns what a disk refuses into a ConfigError."""
    try:
        yield
    except OSError as error:
        raise _unwritable(config, error) from error


def _unwritable(config: ExperimentConfig, error: OSError) -> ConfigError:
    return ConfigError(
        f"storage_path = {config.storage_path!r} cannot be written: {error}. "
        "Give a folder that you may write, or change its permissions."
    )


def locate(path: str | Path, which: Which = "last") -> TrainedTrial:
    """Finds the checkpoint that `path` stands for.

    Args:
        path: A run folder (its best trial), a trial's folder or a checkpoint.
        which: Which checkpoint of a trial is taken.

    Raises:
        RunError: `path` is none of these, the run is damaged, or `path` is a checkpoint and the
            best one is asked for.
        CheckpointError: there is no readable checkpoint.
    """
    folder = _absolute(path)
    if not folder.is_dir():
        raise RunError(f"{path}: no such folder. Give a run folder, a trial or a checkpoint.")
    for level, run in enumerate((folder, folder.parent, folder.parent.parent)):
        if (run / SUMMARY_FILE).is_file():
            return _locate_in(run, folder, level, which)
    raise RunError(f"{path}: not a run folder, a trial or a checkpoint: no {SUMMARY_FILE} there.")


def absolute_source(source: str) -> str:
    """Returns `checkpoint: source` with its path absolute."""
    path, separator, name = source.partition("#")
    return f"{_absolute(path)}{separator}{name}"


def resolve_checkpoint_policy(source: str, policy: str) -> dict[str, np.ndarray]:
    """Returns the weights that `checkpoint: source` gives to `policy`.

    `source` is a run folder, a trial or a checkpoint; `path#name` takes the policy `name` from
    it. Without a name it is the policy of the same name, or the only one there is.
    """
    path, _, name = source.partition("#")
    checkpoint = locate(path).checkpoint
    available = sorted(file.stem for file in (checkpoint / "policies").glob("*.safetensors"))
    if not name:
        name = available[0] if len(available) == 1 else policy
    return read_policy(checkpoint, name)


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(Path(path).expanduser()))  # `Path.absolute` would keep a `..`


def read_trial(run: Path, experiment: ExperimentConfig, trial: TrialSummary) -> ExperimentConfig:
    """Returns the experiment of one trial, free of search spaces.

    Args:
        run: The run folder.
        experiment: What its resolved_config.yaml holds.
        trial: What its summary.json says of the trial.

    Raises:
        RunError: the two files are not of one run.
    """
    name = trial.trial_id
    if name != Path(name).name or name in ("", ".", ".."):
        raise RunError(f"{run / SUMMARY_FILE}: trial_id {name!r} is not the name of a folder.")
    searched = {".".join(path) for path in open_values(experiment.to_dict())} - {"seed"}
    if searched != set(trial.params):
        raise RunError(
            f"{run / SUMMARY_FILE}: {name} has the params {_names(trial.params)}, "
            f"{CONFIG_FILE} searches {_names(searched)}. They are not of the same run."
        )
    return resolve_trial(experiment, trial.spec)


def _names(keys: Iterable[str]) -> str:
    return ", ".join(sorted(keys)) or "none"


def _locate_in(run: Path, folder: Path, level: int, which: Which) -> TrainedTrial:
    summary = read_summary(run)
    if level == 0:
        trial = summary.best() or next((t for t in summary.trials if t.checkpoint), None)
        if trial is None:
            raise CheckpointError(f"{run}: no trial has saved a checkpoint yet.")
    else:
        name = folder.name if level == 1 else folder.parent.name
        trial = next((t for t in summary.trials if t.trial_id == name), None)
        if trial is None:
            raise RunError(f"{folder}: {name!r} is not a trial of {run}.")
    config = read_trial(run, load_config(run / CONFIG_FILE), trial)
    if level < 2:
        checkpoint = choose_checkpoint(run / trial.trial_id, which, summary.mode)
        if checkpoint is None:
            raise CheckpointError(f"{run / trial.trial_id}: no checkpoint yet.")
    elif which == "best":
        raise RunError(
            f"{folder}: --checkpoint best is for trials, and this is a checkpoint already."
        )
    else:
        checkpoint = folder
        check_intact(checkpoint, within=POLICIES)
    return TrainedTrial(run, summary, trial, config, checkpoint)


def choose_checkpoint(trial_folder: Path, which: Which, mode: Mode) -> Path | None:
    """Returns a trial's newest or best checkpoint whose policies are intact; None if it has none.

    Raises:
        CheckpointError: All are damaged, or there are some, and none has a score.
    """
    # Runs may be shared without the pickles beside the policies.
    best = best_intact(trial_folder, mode, within=POLICIES) if which == "best" else None
    if best is not None:
        return best
    newest = newest_intact(trial_folder, within=POLICIES)
    if which == "best" and newest is not None:
        raise CheckpointError(
            f"{trial_folder}: no checkpoint has a score: each was saved before there were enough "
            "episodes for tune.metric, or by an older version. Take the last: --checkpoint last."
        )
    return newest
