"""What a measurement ran on."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path
from typing import Any

from empo_rllib.experiment.provenance import describe_session


def describe_machine() -> dict[str, Any]:
    """Returns CPU, cores, RAM, versions, commit and the load average of the last minute."""
    session = describe_session({}, 1)
    return {
        "started": session["started"],
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "ram_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_at_start": round(os.getloadavg()[0], 2),
        "python": session["python"],
        "packages": session["packages"] | {"numba": importlib.metadata.version("numba")},
        "code": {key: value for key, value in session["code"].items() if key != "folder"},
    }


def render_machine(machine: dict[str, Any]) -> str:
    """Returns it as one line."""
    packages = ", ".join(
        f"{name} {machine['packages'][name]}" for name in ("ray", "torch", "numba", "multigrid")
    )
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['ram_gb']:.0f} GB RAM, "
        f"Python {machine['python']}, {packages}; load average at the start "
        f"{machine['load_at_start']}"
    )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return "unknown"
