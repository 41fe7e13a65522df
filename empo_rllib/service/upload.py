"""What a job takes to the cluster: the experiment, and the user's own modules that it names."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from importlib.machinery import ModuleSpec, PathFinder
from itertools import islice
from pathlib import Path
from typing import Any

from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.errors import ConfigError, nearest
from empo_rllib.files import write_whole

EXPERIMENT_FILE = "experiment.yaml"
MAX_UPLOAD_MB = 10
MAX_UPLOAD_FILES = 10_000
# In lower case. Whoever can read a cluster's jobs can read what was uploaded.
SECRET_NAMES = (
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*.ppk"),
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx"),
    *(".env*", "*.env", ".netrc", "_netrc", "netrc", ".pgpass", ".pypirc", ".npmrc", ".htpasswd"),
    *("credentials", "credentials.*", "*credentials.json", "client_secret*", "service_account*"),
    *("secret", "secrets", "secret.*", "secrets.*", "kubeconfig", ".ssh", ".aws", ".kube"),
    *("token", "token.txt", "token.json", "*_token", "*.token"),
)
_MB = 1_000_000
_NUM_NAMED = 3


def pack_upload(config: ExperimentConfig, folder: Path, include: Iterable[Path] = ()) -> None:
    """Fills an empty folder with what the job needs.

    Raises:
        ConfigError: as in `find_files`.
    """
    for name, file in find_files(config, include).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    write_whole(folder / EXPERIMENT_FILE, config.to_yaml())


def render_upload(config: ExperimentConfig, include: Iterable[Path] = ()) -> str:
    """Returns the size in bytes and the path of each file that the job would get.

    Raises:
        ConfigError: as in `find_files`.
    """
    sizes = {name: file.stat().st_size for name, file in find_files(config, include).items()}
    sizes[Path(EXPERIMENT_FILE)] = len(config.to_yaml().encode())
    return "\n".join(f"{size:>12,}  {name}" for name, size in sorted(sizes.items()))


def find_files(config: ExperimentConfig, include: Iterable[Path] = ()) -> dict[Path, Path]:
    """Returns the user's files to upload, by their path in the upload.

    Args:
        config: The experiment.
        include: Files and folders that are wanted although their names look like secrets, or are
            otherwise left behind.

    Raises:
        ConfigError: there are links that lead out of a package, files that look like secrets, more
            than `MAX_UPLOAD_MB`, or a path of `include` is not among the files.
    """
    included = [Path(os.path.abspath(path)) for path in include]
    found = {
        file.relative_to(source.parent): file
        for source in find_user_modules(config)
        for file in _files(source, included)
    }
    _check_included(included, found.values())
    _check_names(found, included)
    _check_size(list(found.values()))
    return found


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


def _files(source: Path, included: Sequence[Path]) -> list[Path]:
    _check_link(source, within=Path.cwd())
    if source.is_file():
        return [source]
    entries = list(islice(_walk(source, source, included), MAX_UPLOAD_FILES + 1))
    if len(entries) > MAX_UPLOAD_FILES:
        raise ConfigError(
            f"{_short(source)} holds more than {MAX_UPLOAD_FILES:,} files and folders, which is "
            "the limit of an upload. Move data out of the package to a path that all nodes share."
        )
    return [path for path in entries if path.is_file()]


def _walk(folder: Path, package: Path, included: Sequence[Path]) -> Iterator[Path]:
    """Yields what lies in a folder at any depth; links to folders are followed."""
    for path in sorted(folder.iterdir()):
        if _is_left_behind(path.name) and not _is_included(path, included):
            continue
        _check_link(path, within=package)
        yield path
        if path.is_dir() and not _leads_up(path):
            yield from _walk(path, package, included)


def _leads_up(path: Path) -> bool:
    """Whether a link leads to a folder that it lies in."""
    return Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(path))


def _check_link(path: Path, within: Path) -> None:
    """Refuses a link that leads out of a folder: it may lead to anything of the user's."""
    target = Path(os.path.realpath(path))
    if path.is_symlink() and not target.is_relative_to(os.path.realpath(within)):
        raise ConfigError(
            f"{_short(path)} is a link to {target}, outside of {within.name}. It is not uploaded. "
            "Put a copy in its place, or remove the link."
        )


def _is_left_behind(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__" or name.endswith(".pyc")


def _is_included(path: Path, included: Sequence[Path]) -> bool:
    return any(path.is_relative_to(wanted) for wanted in included)


def _check_included(included: Sequence[Path], files: Collection[Path]) -> None:
    for wanted in included:
        if not any(file.is_relative_to(wanted) for file in files):
            known = [str(_short(file)) for file in files]
            raise ConfigError(
                f"--include {wanted}: it is in no package or module that the experiment names."
                f"{nearest(os.path.relpath(wanted), known)} --list-upload prints what is uploaded."
            )


def _check_names(files: Mapping[Path, Path], included: Sequence[Path]) -> None:
    secret = [
        str(_short(file))
        for name, file in files.items()
        if any(map(_looks_secret, name.parts)) and not _is_included(file, included)
    ]
    if secret:
        more = f" and {len(secret) - _NUM_NAMED} more" if len(secret) > _NUM_NAMED else ""
        raise ConfigError(
            f"{', '.join(secret[:_NUM_NAMED])}{more}: not uploaded, since the name looks like that "
            f"of a secret. Move it out of the package, or pass --include {secret[0]}."
        )


def _looks_secret(name: str) -> bool:
    return any(fnmatchcase(name.lower(), pattern) for pattern in SECRET_NAMES)


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
