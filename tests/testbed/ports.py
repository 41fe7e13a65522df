"""Ports for programs that must be told theirs."""

from __future__ import annotations

import contextlib
import secrets
import socket

# Below those that Linux gives to whoever asks for any, which would take one before it is used; and
# no port that Ray, which is in the same tests, takes by default.
_FIRST, _COUNT = 20_000, 12_000
_given: set[int] = set()


def free_port() -> int:
    """Returns a port that nobody has, and that nobody is likely to take soon; never one twice."""
    while True:
        port = _FIRST + secrets.randbelow(_COUNT)
        if port in _given:
            continue
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("", port))
            _given.add(port)
            return port
