"""What a job takes to the cluster: the experiment, and the user's own modules that it names."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.errors import ConfigError
from empo_rllib.files import write_whole

EXPERIMENT_FILE = "experiment.yaml"
MAX_UPLOAD_MB = 10
_MB = 1_000_000
_NUM_NAMED = 3


def pack_upload(config: ExperimentConfig, folder: Path) -> None:
    """Fills an empty folder with what the job needs.

    Raises:
        ConfigError: the user's modules hold more than `MAX_UPLOAD_MB`.
    """
    sources = find_user_modules(config)
    files = [(source, file) for source in sources for file in _files(source)]
    _check_size([file for _, file in files])
    for source, file in files:
        target = folder / file.relative_to(source.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    write_whole(folder / EXPERIMENT_FILE, config.to_yaml())


def find_user_modules(config: ExperimentConfig) -> list[Path]:
    """Returns the top-level packages (folders) and modules (files) of the user's to take along.

    They are those that the experiment names and that lie below the working folder. All else is
    expected on the cluster. Nothing is imported.
    """
    paths = [config.env.id, *config.algorithm.callbacks, *_class_paths(config.model.class_)]
    names = {re.split("[.:]", path)[0] for path in paths} - {"empo_rllib"}
    found = (_find_below_working_folder(name) for name in sorted(names) if name.isidentifier())
    return [source for source in found if source is not None]


def _class_paths(value: Any) -> Iterator[str]:
    """Yields a class path, or all those in a search space."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _class_paths(inner)


def _find_below_working_folder(name: str) -> Path | None:
    here = Path.cwd()
    # The working folder is not on the path of the installed command.
    spec = PathFinder.find_spec(name, [str(here)]) or importlib.util.find_spec(name)
    source = _source(spec) if spec else None
    if source is None or not source.is_relative_to(here):
        return None
    installed = {"site-packages", "dist-packages"} & set(source.relative_to(here).parts)
    return None if installed else source


def _source(spec: ModuleSpec) -> Path | None:
    """Returns a package's folder or a module's file; None for what is built in."""
    if spec.submodule_search_locations:
        return Path(os.path.abspath(next(iter(spec.submodule_search_locations))))
    return Path(os.path.abspath(spec.origin)) if spec.has_location and spec.origin else None


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    return [
        path
        for path in sorted(source.rglob("*"))
        if path.is_file() and not any(map(_is_left_behind, path.relative_to(source).parts))
    ]


def _is_left_behind(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__" or name.endswith(".pyc")


def _check_size(files: list[Path]) -> None:
    sizes = {file: file.stat().st_size for file in files}
    total = sum(sizes.values())
    if total <= MAX_UPLOAD_MB * _MB:
        return
    largest = sorted(files, key=lambda file: -sizes[file])[:_NUM_NAMED]
    named = ", ".join(f"{_short(file)} ({sizes[file] / _MB:.1f} MB)" for file in largest)
    raise ConfigError(
        f"the modules that the experiment names hold {total / _MB:.1f} MB; at most "
        f"{MAX_UPLOAD_MB} MB go with a job. The largest: {named}. Move data out of the package to "
        "a path that all nodes share."
    )


def _short(file: Path) -> Path:
    return file.relative_to(Path.cwd())
