"""Checkpoint folders: written whole or not at all, read with plain errors.

    checkpoint_000010/
        state.json              format version, counters, score, size and SHA-256 of all other files
        episodes.json           the newest episodes' numbers, which means are over
        policies/NAME.safetensors   weights of each policy's RLModule
        algorithm/              RLlib's own checkpoint, for going on with training

Evaluation, recording and policies that start from a checkpoint read only the first two, which
hold no code. Only `--resume` reads `algorithm/`, which contains pickles.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from empo_rllib.config.search_space import is_number
from empo_rllib.errors import CheckpointError, TrialError, nearest
from empo_rllib.experiment.finite import broken_weights
from empo_rllib.experiment.metrics import Counters
from empo_rllib.files import appearing, remove, set_aside, write_whole
from empo_rllib.json_text import read_json

if TYPE_CHECKING:
    import numpy as np
    from ray.rllib.algorithms.algorithm import Algorithm
    from ray.rllib.core.rl_module.rl_module import RLModule

FORMAT = 1
PREFIX = "checkpoint_"
STATE_FILE = "state.json"
EPISODES_FILE = "episodes.json"
POLICIES = "policies/"
_LOG = logging.getLogger(__name__)

#: Which checkpoint of a trial is meant: the newest, or the one with the best score.
Which = Literal["last", "best"]
Mode = Literal["max", "min"]


def checkpoint_path(trial_folder: Path, iteration: int) -> Path:
    """Returns the folder of the checkpoint after `iteration` training iterations."""
    return trial_folder / f"{PREFIX}{iteration:06d}"


def find_checkpoints(trial_folder: Path) -> list[Path]:
    """Returns the complete checkpoints of a trial, oldest first."""
    complete = {
        int(number): folder
        for folder in trial_folder.glob(f"{PREFIX}*")
        if (number := folder.name.removeprefix(PREFIX)).isdecimal()
        and (folder / STATE_FILE).is_file()
    }
    return [complete[iteration] for iteration in sorted(complete)]


def newest_checkpoint(run: Path, trial_id: str) -> str | None:
    """Returns the newest checkpoint of a trial, relative to the run folder."""
    checkpoints = find_checkpoints(run / trial_id)
    return f"{trial_id}/{checkpoints[-1].name}" if checkpoints else None


class Scored(NamedTuple):
    """A complete checkpoint and how good its policies were, in units of `tune.metric`."""

    score: float
    checkpoint: Path


def scored_checkpoints(trial_folder: Path, mode: Mode) -> list[Scored]:
    """Returns the checkpoints of a trial that have a score, the best last; of equals the newest."""
    found = []
    for checkpoint in find_checkpoints(trial_folder):
        with contextlib.suppress(CheckpointError):  # it is damaged, or was removed meanwhile
            if (score := _read_state(checkpoint).get("score")) is not None:
                found.append(Scored(score, checkpoint))
    return sorted(found, key=lambda one: one.score if mode == "max" else -one.score)


def beats_all(trial_folder: Path, score: float, mode: Mode) -> bool:
    """Whether `score` is better than that of every checkpoint of a trial."""
    best = scored_checkpoints(trial_folder, mode)[-1:]
    return all(score > one.score if mode == "max" else score < one.score for one in best)


def write_checkpoint(
    trial_folder: Path,
    algorithm: Algorithm,
    counters: Mapping[str, Any],
    episodes: list[dict[str, Any]],
    num_to_keep: int,
    score: float | None,
    mode: Mode,
    kept: Collection[int] = (),
) -> Path:
    """Saves `algorithm` beside its counters and newest episodes.

    Args:
        trial_folder: The trial's.
        algorithm: What is saved.
        counters: What the trial has done so far.
        episodes: The newest episodes' numbers.
        num_to_keep: How many of the newest checkpoints stay. The best stays, too.
        score: How good the policies are, in units of `tune.metric`; None where that is not known.
        mode: Whether a larger score is better.
        kept: Training iterations whose checkpoints stay, too.

    Raises:
        TrialError: a policy's weights are NaN or infinite; nothing is saved then.
    """
    from safetensors.numpy import save_file

    target = checkpoint_path(trial_folder, counters["training_iteration"])
    with appearing(target) as temporary:
        (temporary / "policies").mkdir(parents=True)
        algorithm.save_to_path(str(temporary / "algorithm"))
        for name, weights in policy_weights(algorithm).items():
            save_file(weights, str(temporary / "policies" / f"{name}.safetensors"))
        # After the rest: learners of IMPALA and APPO go on meanwhile, and broken weights stay so.
        if broken := broken_weights(algorithm):
            raise TrialError(f"{target}: not saved: {'; '.join(broken)}.")
        write_whole(temporary / EPISODES_FILE, json.dumps(episodes))
        state = {"format": FORMAT, "counters": dict(counters), "score": score}
        state |= _fingerprints(temporary)
        write_whole(temporary / "state.json", json.dumps(state, indent=2))
    staying = [one.checkpoint for one in scored_checkpoints(trial_folder, mode)[-1:]]
    staying += [checkpoint_path(trial_folder, iteration) for iteration in kept]
    for old in find_checkpoints(trial_folder)[:-num_to_keep]:
        if old not in staying:
            with contextlib.suppress(OSError):
                remove(old)
    return target


def sweep(trial_folder: Path) -> None:
    """Removes what a killed process left of checkpoints that it was writing or removing."""
    for folder in (*trial_folder.glob(f".{PREFIX}*"), *trial_folder.glob(f"{PREFIX}*")):
        if folder.name.startswith(".") or not (folder / STATE_FILE).is_file():
            shutil.rmtree(folder, ignore_errors=True)


def _fingerprints(checkpoint: Path) -> dict[str, dict[str, Any]]:
    """Sizes and SHA-256 of the files of a checkpoint, by path."""
    files = {
        str(path.relative_to(checkpoint)): path
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file()
    }
    return {
        "files": {name: path.stat().st_size for name, path in files.items()},
        "sha256": {name: _sha256(path) for name, path in files.items()},
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def policy_weights(algorithm: Algorithm) -> dict[str, dict[str, np.ndarray]]:
    """Returns the weights of each RLModule as contiguous arrays by parameter name."""
    import numpy as np

    state = algorithm.learner_group.get_state(components="learner/rl_module")
    modules = state["learner"]["rl_module"]
    return {
        name: {key: np.asarray(value, order="C") for key, value in weights.items()}
        for name, weights in modules.items()
    }


def read_counters(checkpoint: Path) -> dict[str, Any]:
    """Returns the counters of a checkpoint.

    Raises:
        CheckpointError: it is not a checkpoint, is damaged, or has another format.
    """
    return _read_state(checkpoint)["counters"]


def read_episodes(checkpoint: Path) -> list[dict[str, Any]]:
    """Returns the newest episodes of a checkpoint; none where an older version wrote it.

    Raises:
        CheckpointError: their file is damaged.
    """
    path = checkpoint / EPISODES_FILE
    try:
        episodes: list[dict[str, Any]] = read_json(path) if path.is_file() else []
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged: {error}") from error
    return episodes


def newest_intact(trial_folder: Path, within: str = "") -> Path | None:
    """Returns the newest checkpoint of a trial that is as it was saved; None if it has none.

    A damaged checkpoint is reported by a warning, and the one before it is taken. A checkpoint
    that a running trial removes meanwhile is no longer considered.

    Args:
        trial_folder: The trial's.
        within: As in `check_intact`.

    Raises:
        CheckpointError: all checkpoints are damaged.
    """
    return _last_intact(lambda: find_checkpoints(trial_folder), within)


def best_intact(trial_folder: Path, mode: Mode, within: str = "") -> Path | None:
    """Returns the checkpoint with the best score as `newest_intact` does the newest."""
    return _last_intact(
        lambda: [one.checkpoint for one in scored_checkpoints(trial_folder, mode)], within
    )


def _last_intact(find: Callable[[], list[Path]], within: str) -> Path | None:
    damaged: dict[Path, CheckpointError] = {}
    while checkpoints := [path for path in find() if path not in damaged]:
        last = checkpoints[-1]
        try:
            check_intact(last, within)
        except CheckpointError as error:
            if last.is_dir():
                damaged[last] = error
            continue
        for damage in damaged.values():
            _LOG.warning("%s. Using %s instead.", str(damage).rstrip("."), last.name)
        return last
    if damaged:
        raise next(iter(damaged.values()))
    return None


def checkpoint_to_restore(trial_folder: Path) -> Path | None:
    """Returns what `newest_intact` does, and puts the folder in order for writing more.

    Damaged checkpoints after it are renamed, so that they are in nobody's way.
    """
    sweep(trial_folder)
    newest = newest_intact(trial_folder)
    checkpoints = find_checkpoints(trial_folder)
    for damaged in checkpoints[checkpoints.index(newest) + 1 :] if newest else []:
        set_aside(damaged)
    return newest


def check_intact(checkpoint: Path, within: str = "") -> None:
    """Checks that the files of a checkpoint are as they were saved.

    Args:
        checkpoint: Its folder.
        within: Only files below this folder of it, such as `POLICIES`; all by default.

    Raises:
        CheckpointError: one is missing or was changed, or `state.json` cannot be read.
    """
    state = _read_state(checkpoint)
    try:
        for name, size in state.get("files", {}).items():
            if name.startswith(within):
                _check_file(checkpoint / name, size, state.get("sha256", {}).get(name))
    except OSError as error:
        raise CheckpointError(f"{checkpoint}: cannot be read: {error}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{checkpoint}: damaged state.json: {error}") from error


def _check_file(path: Path, size: int, sha256: str | None) -> None:
    """Compares a file with what was saved; older checkpoints have no SHA-256."""
    if not path.is_file() or path.stat().st_size != size:
        found = f"has {path.stat().st_size:,}" if path.is_file() else "is missing"
        raise CheckpointError(f"{path}: damaged: {found}, {size:,} bytes were saved.")
    if sha256 is not None and _sha256(path) != sha256:
        raise CheckpointError(f"{path}: damaged: its content has changed (SHA-256 differs).")


def _read_state(checkpoint: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = read_json(checkpoint / STATE_FILE)
        if state["format"] == FORMAT:
            counters = [state["counters"][field.name] for field in fields(Counters)]
            if not all(is_number(counter) and counter >= 0 for counter in counters):
                raise ValueError(f"counters must be numbers of at least 0: {state['counters']}")
            score = state.get("score")
            if score is not None and not (is_number(score) and math.isfinite(score)):
                raise ValueError(f"score must be a finite number or null: {score}")
    except FileNotFoundError:
        raise CheckpointError(f"{checkpoint}: not a checkpoint: it has no state.json.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{checkpoint}: damaged state.json: {error}") from error
    if state["format"] != FORMAT:
        raise CheckpointError(
            f"{checkpoint}: format {state['format']}; this version of empo_rllib reads format "
            f"{FORMAT}."
        )
    return state


def read_policy(checkpoint: Path, name: str) -> dict[str, np.ndarray]:
    """Returns the weights of one policy, float arrays by parameter name; runs no code.

    Raises:
        CheckpointError: the checkpoint or the policy is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    read_counters(checkpoint)
    path = checkpoint / "policies" / f"{name}.safetensors"
    if not path.is_file():
        names = sorted(file.stem for file in (checkpoint / "policies").glob("*.safetensors"))
        raise CheckpointError(
            f"{checkpoint}: no policy {name!r}; it holds {', '.join(names) or 'none'}."
            f"{nearest(name, names)}"
        )
    try:
        return load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: damaged weights: {error}") from error


def acting_weights(module: RLModule, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns `weights`, with the critic of `module` in place of one that is built in another way.

    A policy that only acts needs no critic, and may have been trained with one that reads what is
    not there now.
    """
    critic = getattr(module, "CRITIC", ())
    own = {key: value.numpy() for key, value in module.state_dict().items()}
    own_critic = {key: value for key, value in own.items() if key.startswith(critic)}
    found = {key: value for key, value in weights.items() if key.startswith(critic)}
    if _shapes(own_critic) == _shapes(found):
        return dict(weights)
    return {**{key: value for key, value in weights.items() if key not in found}, **own_critic}


def _shapes(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {key: array.shape for key, array in arrays.items()}


def load_weights(module: RLModule, weights: Mapping[str, np.ndarray], source: str) -> None:
    """Puts `weights` into a torch RLModule; `source` says where they are from.

    Raises:
        CheckpointError: they are of another network.
    """
    import torch

    tensors = {key: torch.from_numpy(value) for key, value in weights.items()}
    try:
        module.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"{source}: the weights are not of the network that the experiment describes: {error}"
        ) from error
