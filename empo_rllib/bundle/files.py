"""Reading the files of a bundle that nobody has to trust: bounded, checked, never followed."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

from .errors import BundleError

DESCRIPTION_FILE = "bundle.json"
KIND = "empo_rllib bundle"
FORMAT = 1
MAX_DESCRIPTION_BYTES = 8 * 2**20
MAX_DEPTH = 50
MAX_FILE_BYTES = 2**31 - 1  # of a protobuf message, which an ONNX file is


def read_description(folder: Path) -> dict[str, Any]:
    """Returns the content of `bundle.json`, whose kind and format are checked, and no more.

    Raises:
        BundleError: there is none, it is no JSON, of another kind or of another format.
    """
    path = folder / DESCRIPTION_FILE
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such folder. Give one that `export` has written.")
    if not path.exists():
        raise BundleError(f"{folder}: not a bundle: it has no {DESCRIPTION_FILE}.")
    text = _read(path, MAX_DESCRIPTION_BYTES)
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # bad UTF-8 is a ValueError too
        raise BundleError(f"{path}: damaged: {error}") from error
    _check_depth(path, content)
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise BundleError(f"{path}: not the description of a bundle: no kind {KIND!r}.")
    if content.get("format") != FORMAT:
        raise BundleError(
            f"{path}: format {content.get('format')!r:.50}; this version reads format {FORMAT}."
        )
    return content


def read_checked(path: Path, size: Any, sha256: Any) -> bytes:
    """Returns a file's bytes, which have this size and this SHA-256.

    Raises:
        BundleError: it is missing, no plain file, in a folder that is a link, or has others.
    """
    if path.parent.is_symlink():
        raise BundleError(f"{path.parent}: a link. The files of a bundle are in it themselves.")
    if type(size) is not int or not 0 <= size <= MAX_FILE_BYTES:
        raise BundleError(f"{path}: its size, {size!r:.50}, must be at most {MAX_FILE_BYTES:,}.")
    content = _read(path, size)
    if len(content) != size:
        raise BundleError(f"{path}: damaged: {len(content):,} of {size:,} bytes are there.")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BundleError(f"{path}: damaged or changed: its SHA-256 is not the one it had.")
    return content


def _read(path: Path, limit: int) -> bytes:
    """Reads a plain file of at most `limit` bytes; links, pipes and devices are none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise BundleError(f"{path}: not a plain file.")
            if status.st_size > limit:
                raise BundleError(f"{path}: {status.st_size:,} bytes are more than {limit:,}.")
            return file.read(limit + 1)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}.") from error


def _check_depth(path: Path, content: Any) -> None:
    """Refuses nesting that no bundle has, and on which Python fails when it prints the value."""
    level = [content]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for part in level
            if isinstance(part, dict | list)
            for child in (part.values() if isinstance(part, dict) else part)
        ]
    if level:
        raise BundleError(f"{path}: damaged: nested more than {MAX_DEPTH} levels deep.")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
