"""Random input for readers, and what they may do with it: succeed, or raise one error of ours.

Everything else is a finding: another exception, more than 500 MB, more than 10 s.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import resource
import signal
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from empo_rllib.errors import EmpoError
from empo_rllib.terminal import printable

# `make test-fuzz` sets it; without it the inputs are the same each time.
INPUTS = int(os.environ.get("EMPO_RLLIB_FUZZ_INPUTS", "50"))
MAX_BYTES = 500 * 10**6
MAX_CPU_S = 10.0

ODD_TEXTS = (
    *("", " ", "~", "null", "yes", "1e400", "-.inf", ".nan", "0x10", "1:30", "2024-01-01", "<<"),
    *("=", "*a", "&a x", "!!binary aGk=", "!!set {a}", "!!python/name:os.system", "../..", "/"),
    *("\x1b[31m", "\u202e", "\x00", "a" * 300, "[" * 60, "{grid_search: [1, 2]}", "__class__"),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(ODD_TEXTS)
NUMBERS = (
    st.integers(-3, 100)
    | st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**30, 10**400])
    | st.floats(allow_subnormal=False)  # to which libraries in the same process set the CPU
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


class TooSlowError(BaseException):
    """No `except Exception` of a reader may hide it."""


def fuzz(**inputs: st.SearchStrategy[Any]) -> Callable[[Any], Any]:
    """Makes a test of many inputs; a failure prints how to repeat it."""
    return lambda test: settings(
        max_examples=INPUTS,
        derandomize="EMPO_RLLIB_FUZZ_INPUTS" not in os.environ,
        database=None,
        deadline=None,  # CPU time is what counts here
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )(given(**inputs)(test))


def succeeds_or_tells(read: Callable[..., Any], *args: Any) -> Any:
    """Returns what `read` returns, or None after an error of ours, whose message can be printed."""
    logging.disable(logging.WARNING)
    try:
        with _bounded():
            return read(*args)
    except EmpoError as error:
        message = str(error)
    finally:
        logging.disable(logging.NOTSET)
    assert message.strip()
    assert "Traceback" not in message
    printable(message).encode()
    return None


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    def interrupt(*_: Any) -> None:
        raise TooSlowError(f"more than {MAX_CPU_S:g} s of CPU time")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGVTALRM, interrupt)
    signal.setitimer(signal.ITIMER_VIRTUAL, MAX_CPU_S)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MAX_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, handler)


@st.composite
def changed_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """A file with a few bytes changed, cut out, put in or written twice."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = start + draw(st.sampled_from([0, 1, 1, 4, 100, len(content)]))
        kind = draw(st.sampled_from(["flip", "cut", "put", "twice", "end"]))
        if kind == "flip" and start < len(content):
            changed = content[start] ^ draw(st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128, 255]))
            content = content[:start] + bytes([changed]) + content[start + 1 :]
        elif kind == "put":
            odd = draw(st.binary(max_size=8) | st.sampled_from([t.encode() for t in ODD_TEXTS]))
            content = content[:start] + odd + content[start:]
        elif kind == "twice":
            content = content[:end] + content[start:]
        elif kind == "end":
            content = content[:start]
        else:
            content = content[:start] + content[end:]
    return content


@st.composite
def changed_data(draw: st.DrawFn, data: Any, names: list[str]) -> Any:
    """Plain data with a few values or keys changed, removed or added; `names` are likely keys."""
    data = deepcopy(data)
    for _ in range(draw(st.integers(1, 4))):
        part = data
        while isinstance(part, dict | list) and part:
            keys = list(part) if isinstance(part, dict) else list(range(len(part)))
            key = draw(st.sampled_from(keys))
            if not isinstance(part[key], dict | list) or draw(st.integers(0, 3)) == 0:
                _change(draw, part, key, names)
                break
            part = part[key]
    return data


def _change(draw: st.DrawFn, part: Any, key: Any, names: list[str]) -> None:
    kind = draw(st.sampled_from(["value", "value", "scalar", "remove", "key", "nest"]))
    if kind == "value":
        part[key] = draw(VALUES)
    elif kind == "scalar":
        part[key] = draw(SCALARS)
    elif kind == "nest":
        part[key] = draw(st.sampled_from([[part[key]], {draw(TEXTS): part[key]}]))
    elif isinstance(part, list):
        part.insert(key, draw(VALUES))
    elif kind == "remove":
        del part[key]
    else:
        part[draw(st.sampled_from(names) | TEXTS)] = part[key]


def json_bytes(data: Any) -> bytes:
    """Data as JSON, with NaN and infinity as Python writes them."""
    return json.dumps(data).encode()


def is_finite(value: Any) -> bool:
    """Whether data holds no NaN, which is unequal to itself."""
    if isinstance(value, dict):
        return all(map(is_finite, value.values()))
    if isinstance(value, list):
        return all(map(is_finite, value))
    return not isinstance(value, float) or not math.isnan(value)
