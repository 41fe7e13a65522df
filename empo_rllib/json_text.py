"""JSON that somebody else may have written: bounded, and wrong in one way.

Python's parser raises `RecursionError` for deep nesting, and so does most of what reads its result.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MAX_BYTES = 16 * 2**20
MAX_DEPTH = 50


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON in UTF-8, or exceeds the limits of this module.
    """
    with path.open("rb") as file:
        text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes")
    return parse_json(text)


def parse_json(text: str | bytes) -> Any:
    """Returns the content of a JSON text.

    Raises:
        ValueError: it is no JSON, or nested more than `MAX_DEPTH` levels deep.
    """
    try:
        content = json.loads(text)
    except RecursionError:
        raise _too_deep() from None
    level = [content]
    for _ in range(MAX_DEPTH):
        level = [child for part in level for child in _children(part)]
    if level:
        raise _too_deep()
    return content


def _children(part: Any) -> Iterable[Any]:
    if isinstance(part, dict):
        return part.values()
    return part if isinstance(part, list) else ()


def _too_deep() -> ValueError:
    return ValueError(f"nested more than {MAX_DEPTH} levels deep")
