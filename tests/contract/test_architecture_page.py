"""`docs/architecture.md` names every part of the package, and nothing that there is not."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "empo_rllib"
PAGE = (ROOT / "docs/architecture.md").read_text()
DIAGRAM = ROOT / "docs/architecture.svg"
FOLDERS = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables below a heading, without the tables' heads."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    tables = re.findall(r"^\| --- .*\n((?:\|.*\n)+)", section, re.MULTILINE)
    return [line.strip("| ").split(" | ") for table in tables for line in table.splitlines()]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_every_folder_of_the_package_has_its_row_and_every_row_its_folder() -> None:
    named = {quoted(row[0])[0] for row in rows("The package")}
    assert {name for name in named if name.count("/") == 1} == FOLDERS
    assert all((PACKAGE / name).exists() for name in named)
    public = {path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("__")}
    assert {name for name in named if name.endswith(".py")} == public


def test_the_files_to_start_reading_at_are_in_their_folders() -> None:
    starts = [row for row in rows("The package") if len(row) == 3]
    assert starts
    for folder, _, files in starts:
        for name in quoted(files):
            assert (PACKAGE / quoted(folder)[0] / name).is_file(), name


def test_what_to_change_is_there_and_so_are_the_tests() -> None:
    changes = rows("Where to change what")
    assert len(changes) >= 10
    for row in changes:
        for name in quoted(row[1]):
            if "/" in name:
                assert (PACKAGE / name).exists(), name
        for name in quoted(row[2]):
            assert (ROOT / name).exists(), name


def test_every_decision_is_listed() -> None:
    files = {f"decisions/{path.name}" for path in (ROOT / "docs/decisions").glob("*.md")}
    assert set(re.findall(r"^- \[.*\]\((decisions/.*)\)$", PAGE, re.MULTILINE)) == files


def test_the_functions_that_are_named_exist() -> None:
    source = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    for name in ("load_config", "plan_trials", "build_tuner"):
        assert f"`{name}`" in PAGE
        assert f"def {name}(" in source


def test_the_diagram_is_whole_and_shows_every_folder() -> None:
    texts = [element.text or "" for element in ElementTree.parse(DIAGRAM).getroot().iter()]
    shown = {name for text in texts for name in re.findall(r"\b[a-z_]+/(?= |$)", text)}
    assert shown == FOLDERS


@pytest.mark.parametrize("outside", ["http:", "https:", "@import", "<script"])
def test_the_diagram_needs_no_network(outside: str) -> None:
    text = DIAGRAM.read_text().replace("http://www.w3.org/2000/svg", "")
    assert outside not in text
