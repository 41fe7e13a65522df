"""A Ray cluster of a test's own, to join with `--address`."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator

from commands import PYTHON, Running, Workplace


@contextlib.contextmanager
def ray_head(place: Workplace, num_cpus: int) -> Iterator[tuple[Running, str]]:
    """A Ray cluster of one node, apart from all others here: the process and its address.

    Drivers in this workplace get the token that it asks for. Two heads on one machine collide on
    every port with a fixed default, so each of them is given here.
    """
    folder = place.temp / "ray"
    token = place.write("token", "0123456789abcdef" * 4)
    token.chmod(0o600)
    place.env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    ports = {
        "--ray-client-server-port": free_port(),
        "--dashboard-agent-listen-port": free_port(),
        "--dashboard-port": free_port(),
        "--port": 0,
        "--min-worker-port": 0,
        "--max-worker-port": 0,
    }
    command = [PYTHON, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    command += [f"{option}={port}" for option, port in ports.items()]
    command += ["--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={folder}"]
    command += [f"--num-cpus={num_cpus}", "--num-gpus=0", "--object-store-memory=200000000"]
    ours = {"AUTOSCALER_METRIC_PORT": str(free_port())}
    head = Running(command, place.folder, {**place.env, **ours})
    try:
        current = folder / "ray_current_cluster"
        head.wait_until(lambda: current.exists() and "started" in head.stdout, "Ray started")
        yield head, current.read_text().strip()
    finally:
        for pid in place.processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        head.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
