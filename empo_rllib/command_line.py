"""What the commands share: a user's mistake is one message and an exit code, never a traceback."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from empo_rllib.errors import EmpoError


@contextlib.contextmanager
def reporting_errors() -> Iterator[None]:
    """Prints an `EmpoError` to stderr and ends the process with its exit code."""
    try:
        yield
    except EmpoError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
