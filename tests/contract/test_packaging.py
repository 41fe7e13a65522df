"""What `make install` promises: exact pins, wheels with their data, readable refusals."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONSTRAINTS = [
    line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")
]
PINS = {canonicalize_name(c.partition("==")[0]): c.partition("==")[2] for c in CONSTRAINTS}


def requirements() -> list[Requirement]:
    """Everything that pyproject.toml asks for, extras included."""
    extras = PROJECT["project"]["optional-dependencies"].values()
    lines = [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]
    return [Requirement(line) for line in lines]


def installed_closure() -> dict[str, str]:
    """Name to version of every installed package that this project needs, directly or not."""
    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [(r.name, frozenset(r.extras)) for r in requirements()]
    while todo:
        name, extras = node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found[canonicalize_name(name)] = distribution.version
        for line in distribution.requires or []:
            needed = Requirement(line)
            environments = [{"extra": extra} for extra in extras | {""}]
            if needed.marker is None or any(needed.marker.evaluate(e) for e in environments):
                todo.append((needed.name, frozenset(needed.extras)))
    return found


def test_every_line_of_the_constraints_is_one_exact_pin():
    assert [c for c in CONSTRAINTS if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", c)] == []
    assert len(PINS) == len(CONSTRAINTS)


def test_every_installed_package_has_the_pinned_version():
    installed = installed_closure()
    # The CPU build of torch is 2.13.0+cpu; a pin names the public part.
    wrong = {
        name: (version, PINS.get(name))
        for name, version in installed.items()
        if Version(version).public != PINS.get(name)
    }
    assert wrong == {}
    assert len(installed) > 100


def test_every_requirement_admits_its_pin():
    assert [
        str(r) for r in requirements() if PINS[canonicalize_name(r.name)] not in r.specifier
    ] == []


def test_torch_is_the_version_that_the_documentation_names():
    assert PINS["torch"] == "2.13.0"


def test_nothing_brings_the_package_that_overwrites_pygame():
    assert "pygame" in PINS
    assert "pygame-ce" not in PINS


def test_the_build_uses_the_pinned_build_backend():
    assert PROJECT["build-system"]["requires"] == [f"hatchling=={PINS['hatchling']}"]


@pytest.mark.parametrize("name", ["constraints.txt", "pyproject.toml", "Makefile", ".ci/run"])
def test_no_file_of_the_set_up_names_a_package_index(name):
    text = (ROOT / name).read_text()
    # Not an address that is put together at run time, as the dashboard's.
    assert not re.search(r"https?://(?!\$)|--(extra-)?index-url|--find-links", text)


def test_the_wheel_holds_the_license_and_every_data_file(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    kinds = ("*.json", "*.css", "*.js", "*.jinja")
    files = [path for kind in kinds for path in (ROOT / "empo_rllib").rglob(kind)]
    data = {path.relative_to(ROOT).as_posix() for path in files}
    assert {Path(name).suffix for name in data} == {kind[1:] for kind in kinds}
    assert data - set(names) == set()
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith("tests/")]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # `make test` passes its own flags on to every make below it.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    command = ["make", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_make_names_the_fix_when_the_python_is_missing_or_too_old(tmp_path):
    answer = make("install", "PYTHON=python2.0", f"VENV={tmp_path / 'venv'}")
    assert answer.returncode != 0
    assert answer.stderr.splitlines()[0] == (
        "python2.0 is not Python 3.11, 3.12 or 3.13. Name one: make PYTHON=python3.12"
    )
    assert not (tmp_path / "venv").exists()


def test_make_help_lists_every_target():
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    listed = re.findall(r"^ +make ([a-z-]+)", make("help").stdout, re.MULTILINE)
    assert sorted(listed) == sorted(phony[1].split())


def test_the_command_of_the_package_can_be_loaded():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="empo-rllib")
    assert callable(script.load())
