"""The Ray cluster an experiment runs on: one that is running, or a local one of its own."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empo_rllib.errors import ResourceError
from empo_rllib.experiment.temporary_folder import RAY_FOLDER, TOKEN_FILE, temporary_folder
from empo_rllib.experiment.watcher import end_processes

# For the actors: RLlib iterates over sets of agents and policies, so the same seed gives the
# same curve only with the same string hashes; and relative paths, such as those in env.kwargs,
# hold in the working folder, not in one of Tune's.
_ACTOR_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "PYTHONWARNINGS": "ignore",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
# Ray and RLlib warn about their own deprecations at import and at start; nothing in them is
# for our users. `log_to_driver=False` keeps the output of the actors in Ray's log folder.
_QUIET = {
    "RAY_DEDUP_LOGS": "1",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Until the first episode ends there is no return; ASHA lets such a trial go on.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}
# How long Ray's processes may take to start: Ray's own 10 s for the raylet, which comes after its
# agents, and 60 s for the dashboard are too short for a machine that has much else to do.
_START_S = {"RAY_raylet_start_wait_time_s": "120", "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "300"}
# The GCS remembers 100,000 tasks for the dashboard, 3 KB each: each iteration of a trial is one.
_FEW_TASKS = {"RAY_task_events_max_num_task_in_gcs": "1000"}

THIS_MACHINE = "this machine"
_ANSWER_S = 10.0
_POLL_S = 0.5
# How long `ray.init` has to say itself that the GCS is gone.
_GCS_GRACE_S = 10.0


@dataclass(frozen=True)
class Cluster:
    """What the experiment needs to know of the cluster it joined.

    `name` is what messages call it; `folder` is the temporary folder of a local one, which no
    other user may enter.
    """

    name: str
    resources: dict[str, float]
    num_nodes: int
    dashboard_url: str | None
    folder: Path | None

    @property
    def token_file(self) -> Path | None:
        """The token of a local cluster."""
        return self.folder / TOKEN_FILE if self.folder else None


def quiet_ray() -> None:
    """Keeps Ray's, RLlib's and their dependencies' noise from the user; gives Ray time to start.

    To be called before anything imports Ray: it imports Ray itself, which sets up its loggers,
    and quiets these after.
    """
    for key, value in (_QUIET | _START_S | _FEW_TASKS).items():
        os.environ.setdefault(key, value)
    warnings.filterwarnings("ignore")
    import empo_rllib.rllib_imports  # noqa: F401  # sets the level of the loggers below

    for name in ("ray", "ray.rllib", "ray.tune", "gymnasium"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def local_resources() -> dict[str, float]:
    """CPUs this process may use and the GPUs it sees, without starting Ray."""
    import torch

    return {
        "CPU": float(len(os.sched_getaffinity(0))),
        "GPU": float(torch.cuda.device_count()),
    }


def check_resources(needed: dict[str, float], available: dict[str, float], where: str) -> None:
    """Refuses a trial that could never start.

    Raises:
        ResourceError: one trial needs more of something than `available` holds.
    """
    hints = {
        "CPU": "Lower resources.num_env_runners or resources.num_learners.",
        "GPU": "Set resources.num_gpus_per_learner to 0 or auto, or use a machine with a GPU.",
    }
    for name, amount in needed.items():
        if amount > available.get(name, 0.0):
            raise ResourceError(
                f"resources: one trial needs {amount:g} {name}, {where} has "
                f"{available.get(name, 0.0):g}. {hints.get(name, '')}".rstrip()
            )


@contextlib.contextmanager
def local_cluster(resources: dict[str, float]) -> Iterator[Cluster]:
    """Starts Ray on this machine with a token of its own; stops it after.

    Only the dashboard listens on loopback alone: docs/security.md.
    """
    import ray

    with temporary_folder() as folder, _temporary_files_in(folder):
        try:
            context = _start_ray(resources, folder / RAY_FOLDER)
            url = f"http://{context.dashboard_url}" if context.dashboard_url else None
            yield Cluster(THIS_MACHINE, resources, 1, url, folder)
        finally:
            ray.shutdown()
            # The agents of a raylet that was killed would live on for most of a minute.
            end_processes(str(folder / RAY_FOLDER))


@contextlib.contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Makes this process and those that it starts use the folder and the token in it."""
    settings = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / TOKEN_FILE),
        "TMPDIR": str(folder),  # so that what Ray's processes leave behind goes with the folder
        # No worker for each CPU in advance: trials and env runners have processes of their own.
        "RAY_prestart_worker_first_driver": "0",
    }
    previous, temp_folder = {key: os.environ.get(key) for key in settings}, tempfile.tempdir
    os.environ |= settings
    tempfile.tempdir = str(folder)  # of this process: W&B's files
    reread_ray_authentication()
    try:
        yield
    finally:
        tempfile.tempdir = temp_folder
        for key, value in previous.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value
        reread_ray_authentication()


def _start_ray(resources: dict[str, float], folder: Path) -> Any:
    import ray

    try:
        with _ignoring_hang_up(), _telling_of_a_lost_gcs():
            return ray.init(
                address="local",
                num_cpus=int(resources["CPU"]),
                num_gpus=int(resources["GPU"]),
                include_dashboard=True,
                dashboard_host="127.0.0.1",
                _temp_dir=str(folder),
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"env_vars": _ACTOR_ENVIRONMENT},
            )
    except Exception as error:
        raise ResourceError(
            f"Ray cannot be started on {THIS_MACHINE}: {error}\n"
            f"Is the machine overloaded, or the disk of {folder.parent.parent} full?"
        ) from error


@contextlib.contextmanager
def _ignoring_hang_up() -> Iterator[None]:
    """Processes that are started meanwhile ignore SIGHUP: trials must outlive a lost terminal.

    Ray shields them from Ctrl-C alone. Only the main thread may do this.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, previous)


@contextlib.contextmanager
def _telling_of_a_lost_gcs() -> Iterator[None]:
    """Ends this process with an error where the GCS dies meanwhile.

    Without it `ray.init` does not return, and ends this process after a minute, without a word.
    """
    from empo_rllib.experiment import interrupt

    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(_POLL_S):
            if _has_lost_gcs() and not is_over.wait(_GCS_GRACE_S):
                interrupt.current.on_give_up()  # the terminal has its cursor back
                error = f"Ray cannot be started on {THIS_MACHINE}: its gcs_server has died."
                print(f"error: {error} Was it killed, or out of memory?", file=sys.stderr)
                sys.stderr.flush()
                os._exit(ResourceError.exit_code)  # the watcher cleans up

    threading.Thread(target=watch, name="gcs", daemon=True).start()
    try:
        yield
    finally:
        is_over.set()


def _has_lost_gcs() -> bool:
    """Whether a GCS that this process started is dead.

    Ray has no record of it before all its processes run: the system has.
    """
    return any(_is_dead_gcs(path) for path in Path("/proc").glob("[0-9]*/stat"))


def _is_dead_gcs(path: Path) -> bool:
    try:
        name, _, rest = path.read_text(errors="replace").rpartition(")")
    except OSError:  # the process has ended
        return False
    state, parent = rest.split()[:2]
    return name.endswith("(gcs_server") and state == "Z" and int(parent) == os.getpid()


def lost_process(cluster: Cluster) -> str | None:
    """Returns which of Ray's processes a local cluster has lost, or None.

    Without its raylet Ray waits for ever; without its GCS it ends this process after a minute.
    """
    return None if cluster.folder is None else _dead_process()


def _dead_process() -> str | None:
    from ray._private import worker

    if worker._global_node is None:
        return None
    dead = {name for name, _ in worker._global_node.dead_processes()}
    return next((name for name in ("raylet", "gcs_server") if name in dead), None)


def reread_ray_authentication() -> None:
    """Makes this process see `RAY_AUTH_*` as they are now.

    Ray 2.60 reads them when it is imported and has no public way to read them again; without
    it a second experiment in the same process would use the first one's token.
    """
    from ray._raylet import AuthenticationTokenLoader, Config

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@contextlib.contextmanager
def running_cluster(
    address: str, num_nodes: int = 1, nodes_timeout_s: float = 0.0
) -> Iterator[Cluster]:
    """Joins the Ray cluster at `address` and leaves it running.

    Args:
        address: `host:port` of its head, or `auto`.
        num_nodes: How many nodes must be there first.
        nodes_timeout_s: How long they are waited for.

    Raises:
        ResourceError: no cluster answers there, it refuses the token, or nodes are missing.
    """
    import ray

    reread_ray_authentication()
    try:
        _check_answers(address)
        context = ray.init(
            address=address,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={"env_vars": _ACTOR_ENVIRONMENT},
        )
    except Exception as error:
        raise ResourceError(
            f"--address {address}: cannot join a Ray cluster there: {error}\n"
            "Is it running, and are RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH set as on its head?"
        ) from error
    try:
        _wait_for_nodes(address, num_nodes, nodes_timeout_s)
        # A cluster found by itself is that of this node, often of this container: what it calls its
        # dashboard's address is not one that the user could open.
        known = context.dashboard_url and address != "auto"
        url = f"http://{context.dashboard_url}" if known else None
        name = "the cluster" if address == "auto" else f"the cluster at {address}"
        yield Cluster(name, ray.cluster_resources(), len(ray.nodes()), url, None)
    finally:
        ray.shutdown()


def _wait_for_nodes(address: str, count: int, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while len(names := _node_names()) < count:
        if time.monotonic() > deadline:
            host, _, port = address.rpartition(":")
            raise ResourceError(
                f"{len(names)} of {count} nodes have joined the cluster within {timeout_s:g} s: "
                f"{', '.join(names)}. The others must reach port {port} of {host}: name the "
                "network with EMPO_RLLIB_INTERFACE, or give them longer with EMPO_RLLIB_START_S."
            )
        time.sleep(0.2)


def _node_names() -> list[str]:
    import ray

    return sorted(node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"])


def _check_answers(address: str) -> None:
    """Raises OSError or ValueError unless something listens; `ray.init` asks for minutes."""
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        raise ValueError("an address is auto or has the form host:port")
    socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
