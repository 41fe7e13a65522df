"""`provenance.json`: what produced a run, so that it can be repeated."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import logging
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from empo_rllib.files import set_aside, write_whole
from empo_rllib.json_text import read_json
from empo_rllib.version import __version__

PROVENANCE_FILE = "provenance.json"
_LOG = logging.getLogger(__name__)
IMAGE_MARKER = ".image"
_PACKAGES = ("ray", "torch", "gymnasium", "pettingzoo", "multigrid", "numpy")


def write_provenance(folder: Path, cluster: dict[str, float], num_nodes: int) -> None:
    """Adds this session to the run's provenance; a resumed run has one entry per session.

    A damaged file is renamed and reported by a warning.
    """
    path = folder / PROVENANCE_FILE
    sessions = [*_earlier_sessions(path), describe_session(cluster, num_nodes)]
    write_whole(path, json.dumps({"sessions": sessions}, indent=2) + "\n")


def _earlier_sessions(path: Path) -> list[dict[str, Any]]:
    try:
        sessions: list[dict[str, Any]] = read_json(path)["sessions"]
        if not isinstance(sessions, list):
            raise TypeError("sessions is not a list")
        return sessions
    except FileNotFoundError:
        return []
    except (ValueError, LookupError, TypeError) as error:
        _LOG.warning("%s: damaged (%s). It is now %s.", path, error, set_aside(path).name)
        return []


def describe_session(cluster: dict[str, float], num_nodes: int) -> dict[str, Any]:
    """Returns versions, code, hardware and command line of this process."""
    source = Path(__file__).resolve().parents[2]
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.executable).name, *sys.orig_argv[1:]]),
        "working_folder": os.getcwd(),
        "python": platform.python_version(),
        "packages": {"empo_rllib": __version__} | {name: _version(name) for name in _PACKAGES},
        "code": {"folder": str(source), **_image_state(source), **_git_state(source)},
        **_slurm_state(),
        "hardware": {
            "host": platform.node(),
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "cluster_nodes": num_nodes,
            "cluster_resources": {
                k: v for k, v in cluster.items() if k in ("CPU", "GPU", "memory")
            },
        },
    }


def _slurm_state() -> dict[str, Any]:
    """The SLURM job that this process belongs to, and how often SLURM has started it again."""
    job_id = os.environ.get("SLURM_JOB_ID")
    if job_id is None:
        return {}
    restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    nodes = os.environ.get("SLURM_JOB_NODELIST", "")
    state = {"job_id": job_id, "restarts": restarts, "nodes": nodes}
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        state["array_task"] = f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '')}"
    return {"slurm": state}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _image_state(folder: Path) -> dict[str, Any]:
    """Whether a container runs its image's code or a clone mounted over it; empty outside of one.

    The Dockerfile sets the variable and leaves the file, with the commit the image was built
    from, beside the code: where a clone is mounted the file is not seen.
    """
    if "EMPO_RLLIB_IMAGE" not in os.environ:
        return {}
    marker = folder / IMAGE_MARKER
    if not marker.exists():
        return {"from": "mounted clone"}
    return {"from": "image", "image_revision": marker.read_text().strip()}


def _git_state(folder: Path) -> dict[str, Any]:
    """Commit of the clone the package runs from; empty where it is installed without one."""
    if not (folder / ".git").exists():
        return {}
    command = ["git", "-c", f"safe.directory={folder}", "-C", str(folder)]
    try:
        commit = subprocess.run(
            [*command, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10
        )
        status = subprocess.run(
            [*command, "status", "--porcelain"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    if commit.returncode:
        return {}
    return {"commit": commit.stdout.strip(), "uncommitted_changes": bool(status.stdout.strip())}
