"""Checkpoint folders: written whole or not at all, read with plain errors.

    checkpoint_000010/
        state.json              format version, the trial's counters, the sizes of all other files
        episodes.json           the newest episodes' numbers, which means are over
        policies/NAME.safetensors   weights of each policy's RLModule
        algorithm/              RLlib's own checkpoint, for going on with training

Evaluation, recording and policies that start from a checkpoint read only the first two, which
hold no code. Only `--resume` reads `algorithm/`, which contains pickles.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from empo_rllib.config.search_space import is_number
from empo_rllib.errors import CheckpointError, nearest
from empo_rllib.experiment.metrics import Counters

if TYPE_CHECKING:
    import numpy as np
    from ray.rllib.algorithms.algorithm import Algorithm
    from ray.rllib.core.rl_module.rl_module import RLModule

FORMAT = 1
PREFIX = "checkpoint_"
EPISODES_FILE = "episodes.json"


def checkpoint_path(trial_folder: Path, iteration: int) -> Path:
    """Returns the folder of the checkpoint after `iteration` training iterations."""
    return trial_folder / f"{PREFIX}{iteration:06d}"


def find_checkpoints(trial_folder: Path) -> list[Path]:
    """Returns the complete checkpoints of a trial, oldest first."""
    complete = {
        int(number): folder
        for folder in trial_folder.glob(f"{PREFIX}*")
        if (number := folder.name.removeprefix(PREFIX)).isdecimal()
        and (folder / "state.json").is_file()
    }
    return [complete[iteration] for iteration in sorted(complete)]


def write_checkpoint(
    trial_folder: Path,
    algorithm: Algorithm,
    counters: Mapping[str, Any],
    episodes: list[dict[str, Any]],
    num_to_keep: int,
) -> Path:
    """Saves `algorithm` beside its counters and newest episodes; keeps `num_to_keep` in all."""
    from safetensors.numpy import save_file

    target = checkpoint_path(trial_folder, counters["training_iteration"])
    temporary = trial_folder / f".{target.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        (temporary / "policies").mkdir(parents=True)
        algorithm.save_to_path(str(temporary / "algorithm"))
        for name, weights in policy_weights(algorithm).items():
            save_file(weights, str(temporary / "policies" / f"{name}.safetensors"))
        (temporary / EPISODES_FILE).write_text(json.dumps(episodes))
        files = [path for path in sorted(temporary.rglob("*")) if path.is_file()]
        sizes = {str(path.relative_to(temporary)): path.stat().st_size for path in files}
        state = {"format": FORMAT, "counters": dict(counters), "files": sizes}
        (temporary / "state.json").write_text(json.dumps(state, indent=2))
        shutil.rmtree(target, ignore_errors=True)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in find_checkpoints(trial_folder)[:-num_to_keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


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
        episodes: list[dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else []
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged: {error}") from error
    return episodes


def check_complete(checkpoint: Path) -> None:
    """Checks, without reading them, that all files of a checkpoint are there in full.

    Raises:
        CheckpointError: one is missing or has another size, or `state.json` cannot be read.
    """
    for name, size in _read_state(checkpoint).get("files", {}).items():
        path = checkpoint / name
        if not path.is_file() or path.stat().st_size != size:
            found = f"has {path.stat().st_size:,}" if path.is_file() else "is missing"
            raise CheckpointError(
                f"{path}: {found}, {size:,} bytes were saved. Remove the folder {checkpoint.name} "
                "to go on from the checkpoint before it."
            )


def _read_state(checkpoint: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((checkpoint / "state.json").read_text())
        if state["format"] == FORMAT:
            counters = [state["counters"][field.name] for field in fields(Counters)]
            if not all(is_number(counter) and counter >= 0 for counter in counters):
                raise ValueError(f"counters must be numbers of at least 0: {state['counters']}")
    except FileNotFoundError:
        raise CheckpointError(f"{checkpoint}: not a checkpoint: it has no state.json.") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
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
