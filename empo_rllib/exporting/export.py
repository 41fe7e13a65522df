"""From a checkpoint to a bundle: a folder that is written whole, checked, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from empo_rllib.bundle.bundle import check_folder
from empo_rllib.console import Tell
from empo_rllib.errors import BundleError, ConfigError
from empo_rllib.experiment.checkpoints import Which
from empo_rllib.experiment.run_folder import TrainedTrial
from empo_rllib.files import put_in_place
from empo_rllib.results.evaluate import check_protocol
from empo_rllib.results.find import find_trained
from empo_rllib.seeding import repeatable

if TYPE_CHECKING:
    from empo_rllib.exporting.check import PolicyCheck

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Exported:
    """A bundle that has been written.

    Attributes:
        folder: where.
        checks: what the comparison of each policy came to.
    """

    folder: Path
    checks: dict[str, PolicyCheck]


def check_out(out: Path, overwrite: bool) -> None:
    """Refuses a place for a bundle, without writing anything.

    Raises:
        BundleError: there is something already, and `overwrite` is not set or it is no bundle.
        ConfigError: the place cannot be written.
    """
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}.")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"--out {out}: no permission to write to {out.parent}.")
    if not out.exists() and not out.is_symlink():
        return
    if out.is_symlink() or not out.is_dir():
        raise BundleError(f"--out {out}: exists and is no folder. Choose another name.")
    if not any(out.iterdir()):
        return
    try:
        check_folder(out)
    except BundleError as error:
        raise BundleError(f"--out {out}: not replaced: {error} Choose another name.") from error
    if not overwrite:
        raise BundleError(f"--out {out}: holds a bundle. Replace it with --overwrite.")


def export(
    run_or_checkpoint: str | Path | TrainedTrial,
    out: str | Path,
    overwrite: bool = False,
    seed: int = 0,
    tell: Tell = lambda text: None,
    checkpoint: Which = "last",
) -> Exported:
    """Writes the policies of a checkpoint as a bundle, and checks that it acts as they do.

    Args:
        run_or_checkpoint: A run folder (its best trial), a trial or a checkpoint.
        out: The bundle's folder; it appears when it is complete.
        overwrite: Replace a bundle that is there.
        seed: Of the episodes whose observations the bundle is checked with.
        tell: Is told which policy is exported or checked.
        checkpoint: Which checkpoint of a trial is exported.

    Raises:
        ConfigError: an argument has an impossible value, or what the experiment needs is gone.
        RunError: there is no run folder, trial or checkpoint.
        CheckpointError: the checkpoint is damaged.
        BundleError: `out` is taken, a policy cannot be exported, or acts otherwise when it is.
    """
    check_protocol(1, seed)
    out = Path(os.path.abspath(Path(out).expanduser()))
    check_out(out, overwrite)
    trained = find_trained(run_or_checkpoint, checkpoint)

    from empo_rllib.exporting.build import write_bundle

    with _appearing(out) as folder, repeatable(seed):
        checks = write_bundle(trained, folder, seed, tell)
    return Exported(out, checks)


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """Yields a folder beside `out` that takes its place in the end, or leaves no trace.

    Raises:
        ConfigError: it cannot be written; other errors of the caller's block pass through.
    """
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written: {error.strerror}.") from error
    new, old = temporary / "new", temporary / "old"
    try:
        new.mkdir()  # with the permissions of any new folder; those of `temporary` are tighter
        yield new
        if out.exists():
            os.replace(out, old)
        try:
            put_in_place(new, out)
        except OSError:
            if old.exists():
                os.replace(old, out)
            raise
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise  # of the environment, for example
        raise ConfigError(f"--out {out}: cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
