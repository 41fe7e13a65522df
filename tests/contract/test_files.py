"""Files are written whole or not at all: nothing in the package opens one for writing by itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "empo_rllib"
#: Who may write in another way, and why.
EXCEPTIONS = {
    "files.py": "the way itself",
    "experiment/temporary_folder.py": "the token, in a folder that is new and goes with the run",
    "exporting/export.py": "two folders change places, and back where the second cannot",
    "experiment/progress_file.py": "one row is appended; a last line cut short is left out",
    "experiment/run_folder.py": "the lock file, which is empty",
    "experiment/study.py": "Optuna appends to its journal; a last line cut short is cut off",
}


def writes(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in ("write_text", "write_bytes", "rename", "renames"):
            yield name
        elif name == "replace" and ast.unparse(node.func) == "os.replace":
            yield "os.replace"
        elif name == "open":
            values = [*node.args, *(keyword.value for keyword in node.keywords)]
            modes = [str(value.value) for value in values if isinstance(value, ast.Constant)]
            yield from (f"open({mode})" for mode in modes if set(mode) & set("wax+"))


def test_files_are_written_in_one_place() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if {*writes(path)}
    }
    assert found == EXCEPTIONS.keys()
