"""A container registry without TLS, at `localhost:5000` of whatever host it is started on."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from engine import run
from repository import wait_until

ADDRESS = "localhost:5000"
_CONFIG = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/images}}}}
http: {{addr: "127.0.0.1:5000"}}
"""


@contextlib.contextmanager
def running_registry(
    prefix: Path, folder: Path, on_host: Callable[[Sequence[str]], list[str]]
) -> Iterator[None]:
    """A started registry that is gone afterwards; its images stay in `folder`.

    Args:
        prefix: Where tests/testbed/install_docker.sh unpacked it.
        folder: What one registry has been given, another one on the same folder offers.
        on_host: Returns what runs a command on the registry's host.
    """
    config = folder / "config.yml"
    config.write_text(_CONFIG.format(folder=folder))
    program = str(prefix / "root/usr/bin/docker-registry")
    # With who enters the host for it: that is no parent which would pass TERM on.
    serve = ["setpriv", "--pdeathsig", "TERM", program, "serve", str(config)]
    process = subprocess.Popen(
        on_host(serve), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    ask = on_host(["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/5000"])
    try:
        wait_until(lambda: run(ask, os.environ, check=False).returncode == 0, "the registry")
        yield
    finally:
        process.terminate()
        process.wait()
