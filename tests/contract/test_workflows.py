"""What GitHub and pre-commit run is what `make` runs, and actions are pinned."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
WORKFLOWS = {path.stem: path.read_text() for path in (ROOT / ".github/workflows").glob("*.yml")}
CI = yaml.safe_load(WORKFLOWS["ci"])
PUBLISH = yaml.safe_load(WORKFLOWS["publish"])
PRE_COMMIT = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())


def recipe(target: str) -> list[list[str]]:
    """The commands of a target of the Makefile, without the path of .venv."""
    match = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert match is not None, target
    return [shlex.split(line.strip().removeprefix("$(BIN)/")) for line in match[1].splitlines()]


def commands(job: dict) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def test_ci_checks_tests_and_builds_the_image() -> None:
    found = {command for job in CI["jobs"].values() for command in commands(job)}
    assert found == {"make check", "make test-all", "make build"}
    assert re.search("^build:", MAKEFILE, re.MULTILINE)


def test_the_ci_script_checks_first_and_leaves_no_test_out() -> None:
    targets = set(re.findall(r"^([\w-]+):.*##", MAKEFILE, re.MULTILINE))
    commands = re.sub(r"^#.*", "", (ROOT / ".ci/run").read_text(), flags=re.MULTILINE)
    made = [name for name in re.findall(r"\bmake ([\w-]+)", commands) if name in targets]
    assert made == ["testbed", "check", "test-all", "test-containers", "test-slurm"]
    assert recipe("test")[0][-2:] == ["-m", "not slow"]
    assert recipe("test-all")[0][-4:] == ["-m", "slow", "tests/integration", "tests/faults"]
    assert re.search(r"^test-all: test ", MAKEFILE, re.MULTILINE)


def test_ci_tests_every_supported_python() -> None:
    tested = CI["jobs"]["test"]["strategy"]["matrix"]["python"]
    declared = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert tested == declared


def test_a_tag_publishes_the_image_and_nothing_else_does() -> None:
    assert PUBLISH[True] == {"push": {"tags": ["v*"]}}  # YAML reads `on` as a boolean
    (job,) = PUBLISH["jobs"].values()
    assert commands(job)[-2] == "make build"
    assert commands(job)[-1].startswith("make push IMAGE=")
    assert re.search("^push:", MAKEFILE, re.MULTILINE)


def test_only_publishing_may_write() -> None:
    assert CI["permissions"] == {"contents": "read"}
    assert PUBLISH["permissions"] == {}
    (job,) = PUBLISH["jobs"].values()
    assert job["permissions"] == {"contents": "read", "packages": "write"}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_to_a_commit_and_name_its_version(name: str) -> None:
    uses = re.findall(r"uses: (.*)", WORKFLOWS[name])
    assert uses
    for action in uses:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_pre_commit_runs_what_make_check_runs() -> None:
    (local,) = PRE_COMMIT["repos"]
    entries = [shlex.split(hook["entry"].removeprefix(".venv/bin/")) for hook in local["hooks"]]
    checked = recipe("check")
    tools = {command[0] for command in checked} | {"ruff"}
    assert {entry[0] for entry in entries} == tools
    schemas = {word for command in checked for word in command if word.startswith("vendor.")}
    assert {word for entry in entries for word in entry if word.startswith("vendor.")} == schemas
    assert len(schemas) == 2
