"""What a build of the project's Dockerfile needs where no image can be pulled."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from engine import Engine
from repository import ROOT


def base_image() -> str:
    """Returns the image that the Dockerfile starts from by default."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    return next(line for line in lines if line.startswith("ARG BASE_IMAGE=")).partition("=")[2]


def import_base_image(engine: Engine) -> None:
    """Gives the engine a stand-in for the base image, under its name, unless it has one."""
    if engine.docker("image", "inspect", base_image(), check=False).returncode == 0:
        return
    engine.on_host([str(ROOT / "tests/testbed/base_image.sh"), base_image()])


def find_wheels() -> Path | None:
    """Returns where this machine's pip looks for wheels besides its index, for builds to do too."""
    pip = [sys.executable, "-m", "pip", "config", "list"]
    settings = subprocess.run(pip, capture_output=True, text=True, check=True).stdout
    folders = re.findall(r"find-links='(/[^' ]+)'", settings)
    return next((Path(folder) for folder in folders if Path(folder).is_dir()), None)


def build_flags() -> str:
    """Returns DOCKER_BUILD_FLAGS of `make build`: the engine's own network, and those wheels."""
    wheels = find_wheels()
    return "--network=host" + (f" --build-context wheels={wheels}" if wheels else "")
