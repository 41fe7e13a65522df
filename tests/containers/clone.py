"""A fresh clone of the repository, an ordinary user's of the host, and what is typed in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from engine import Engine
from repository import copy_repository, own

# Not 1000, the default: results must belong to the user who typed the command.
HOST_USER = 1234


class Clone:
    """A clone in `folder`; every command in it is typed by `HOST_USER`."""

    def __init__(self, engine: Engine, folder: Path, project: str) -> None:
        self.engine = engine
        self.folder = folder
        home = folder.parent
        # Variables of the shell that it is typed in.
        self.env: dict[str, str] = {
            "COMPOSE_PROJECT_NAME": project,
            "HOME": str(home),
            "DOCKER_CONFIG": str(home / ".docker"),
        }
        os.chown(engine.socket, HOST_USER, -1)  # root may use it all the same
        shutil.copytree(engine.env["DOCKER_CONFIG"], home / ".docker", symlinks=True)
        own(home / ".docker", HOST_USER)
        copy_repository(folder)
        own(folder, HOST_USER)

    def type(
        self, *command: str, check: bool = True, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self.engine.on_host(
            command, check=check, cwd=self.folder, env={**self.env, **(env or {})}, user=HOST_USER
        )

    def compose(
        self, *args: str, check: bool = True, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self.type("docker", "compose", *args, check=check, env=env)

    def in_head(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.compose("exec", "-T", "ray-head", *command, check=check)

    def container(self, service: str) -> str:
        return self.compose("ps", "--quiet", service).stdout.strip()

    def health(self, service: str) -> str:
        name = self.compose("ps", "--all", "--quiet", service).stdout.strip()
        inspect = ("inspect", "--format", "{{.State.Status}} {{.State.Health.Status}}", name)
        return self.engine.docker(*inspect).stdout.strip()

    def summary(self, name: str) -> dict:
        return json.loads((self.folder / "results" / name / "summary.json").read_text())

    def rows(self, name: str) -> list[list[str]]:
        """Returns the complete lines of the trial's progress.csv, its header first."""
        path = self.folder / "results" / name / "trial_00000" / "progress.csv"
        text = path.read_text() if path.exists() else ""
        return [line.split(",") for line in text[: text.rfind("\n") + 1].splitlines()]

    def column(self, name: str, column: str) -> list[float]:
        header, *rows = self.rows(name)
        return [float(row[header.index(column)]) for row in rows]
