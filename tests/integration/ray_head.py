"""A Ray cluster of a test's own: to join with `--address`, and to submit to."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from commands import PYTHON, Outcome, Run, Running, Workplace
from ports import free_port


@dataclass(frozen=True)
class Head:
    """A Ray cluster of one node.

    Attributes:
        place: What it belongs to.
        address: What drivers join, `host:port`.
        dashboard_url: Where jobs are submitted.
        metrics_url: Where Prometheus would scrape the node.
        token_file: Holds the token that everything asks for.
    """

    place: Workplace
    address: str
    dashboard_url: str
    metrics_url: str
    token_file: Path

    @property
    def env(self) -> dict[str, str]:
        """What a driver needs to be let in."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token_file)}

    def tune(self, place: Workplace, *args: object) -> Outcome:
        """Runs `python -m empo_rllib.tune` in a workplace, on this cluster, in this process."""
        arguments = [*args, "--address", self.address]
        return place.type(*arguments, module="empo_rllib.tune", env=self.env)

    def start(
        self, place: Workplace, *args: object, env: Mapping[str, str] | None = None
    ) -> Running:
        """Starts the same in a process of its own."""
        return place.start(*args, "--address", self.address, env={**self.env, **(env or {})})

    def tune_after_kill(self, place: Workplace, experiment: Path, frequency: int) -> Run:
        """Trains an experiment, kills it after two intervals of checkpoints, and resumes it here.

        Args:
            place: Where it is trained.
            experiment: A file with one trial, of the experiment's name.
            frequency: Its `checkpoint.frequency`.
        """
        run, running = place.run(experiment.stem), place.start("--config", experiment)
        trial = run.trial()
        running.wait_until(lambda: trial.num_rows() > 2 * frequency, "its third interval")
        running.process.send_signal(signal.SIGKILL)
        running.wait()
        assert not place.wait_for_quiet()
        more = f"stop.env_steps={int(trial.rows()[-1]['env_steps']) + 500}"
        self.tune(place, "--config", experiment, "--resume", "--set", more).check()
        return run


@contextlib.contextmanager
def ray_head(
    place: Workplace, num_cpus: int, env: Mapping[str, str] | None = None, dashboard: bool = True
) -> Iterator[Head]:
    """A started `Head` that is gone afterwards."""
    try:
        yield start_head(place, num_cpus, env, dashboard)
    finally:
        for pid in place.processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def start_head(
    place: Workplace, num_cpus: int, env: Mapping[str, str] | None = None, dashboard: bool = True
) -> Head:
    """Starts a Ray cluster of one node, apart from all others here, that ends with its place.

    Two heads on one machine collide on every port with a fixed default, so each of them is given
    here.
    """
    folder = place.temp / "ray"
    token = place.write("token", "0123456789abcdef" * 4)
    token.chmod(0o600)
    dashboard_port, metrics_port = free_port(), free_port()
    ports = {
        "--ray-client-server-port": free_port(),
        "--dashboard-agent-listen-port": free_port(),
        "--dashboard-port": dashboard_port,
        "--metrics-export-port": metrics_port,
        "--port": 0,
        "--min-worker-port": 0,
        "--max-worker-port": 0,
    }
    command = [PYTHON, "-m", "ray.scripts.scripts", "start", "--head"]
    command += [f"{option}={port}" for option, port in ports.items()]
    command += [f"--include-dashboard={dashboard}", "--disable-usage-stats"]
    command += ["--include-log-monitor=False"]
    command += [f"--temp-dir={folder}"]
    command += [f"--num-cpus={num_cpus}", "--num-gpus=0", "--object-store-memory=200000000"]
    ours = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_prestart_worker_first_driver": "0",
        "RAY_raylet_start_wait_time_s": "120",
        "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "300",
        "AUTOSCALER_METRIC_PORT": str(free_port()),
        # Jobs run `python`.
        "PATH": f"{Path(PYTHON).parent}:{place.env['PATH']}",
        **(env or {}),
    }
    Running(command, place.folder, {**place.env, **ours}).wait().check()
    return Head(
        place=place,
        address=(folder / "ray_current_cluster").read_text().strip(),
        dashboard_url=f"http://127.0.0.1:{dashboard_port}",
        metrics_url=f"http://127.0.0.1:{metrics_port}/metrics",
        token_file=token,
    )
