"""What the documents tell people to type, open and expect is there."""

from __future__ import annotations

import ast
import re
import shlex
from importlib import import_module
from pathlib import Path

import click
import pytest
import typer.main
import typer.rich_utils
from typer.testing import CliRunner

from empo_rllib import make_env
from empo_rllib.config.load import load_config
from empo_rllib.help_examples import EXAMPLES

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")]
)
PROGRAMS = {"empo_rllib.tune": "empo_rllib.tune", "empo_rllib": "empo_rllib.cli"}


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)


def commands() -> list[tuple[str, str]]:
    lines = [
        (document.name, line.split(" # ")[0].strip())
        for document in DOCUMENTS
        for block in blocks(document, "console")
        for line in block.splitlines()
    ]
    return [(name, line) for name, line in lines if line]


def program_commands() -> list[str]:
    # `empo_rllib.bundle` has no parser: it has to do with numpy and onnxruntime alone.
    lines = {line for _, line in commands() if line.startswith("python -m empo_rllib")}
    return sorted(line for line in lines if not line.startswith("python -m empo_rllib.bundle "))


def parse(line: str) -> dict[str, object]:
    """Lets the command's own parser read the line, without running it."""
    _, _, module, *arguments = shlex.split(line)
    command = typer.main.get_command(import_module(PROGRAMS[module]).app)
    context = command.make_context(module, list(arguments), resilient_parsing=False)
    if isinstance(command, click.Group) or hasattr(command, "commands"):
        name, *rest = arguments
        context = command.commands[name].make_context(name, rest, parent=context)
    return context.params


def test_the_documents_hold_commands_to_test():
    assert len(program_commands()) >= 8


@pytest.mark.parametrize("line", program_commands())
def test_every_documented_command_is_understood(line):
    params = parse(line)
    if params.get("config"):
        experiment = load_config(ROOT / str(params["config"]), params["set_"] or [])
        assert experiment.name


HELP_EXAMPLES = [(name, line) for name, lines in EXAMPLES.items() for line in lines]


@pytest.mark.parametrize(("name", "line"), HELP_EXAMPLES, ids=[line for _, line in HELP_EXAMPLES])
def test_every_example_of_a_help_page_is_understood(name, line):
    program = "empo_rllib.tune" if name == "tune" else f"empo_rllib {name}"
    assert line.startswith(f"python -m {program}")
    params = parse(line)
    if params.get("config"):
        assert load_config(ROOT / str(params["config"]), params["set_"] or []).name
    elif params.get("env"):
        make_env(str(params["env"]), num_agents=params["num_agents"]).close()


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_help_page_fits_80_columns_and_ends_with_examples(name, monkeypatch):
    monkeypatch.setattr(typer.rich_utils, "MAX_WIDTH", 80)
    monkeypatch.setattr(typer.rich_utils, "FORCE_TERMINAL", False)
    program = "empo_rllib.tune" if name == "tune" else f"empo_rllib {name}"
    module, *arguments = program.split()

    app = import_module(PROGRAMS[module]).app
    page = CliRunner().invoke(app, [*arguments, "--help"], prog_name=f"python -m {module}").stdout

    lines = [line.strip() for line in page.splitlines()]
    assert max(map(len, page.splitlines())) <= 80
    end = lines.index("Examples:")
    assert tuple(line for line in lines[end + 1 :] if line) == EXAMPLES[name]
    assert 2 <= len(EXAMPLES[name]) <= 3


def test_every_command_has_examples():
    commands = typer.main.get_command(import_module("empo_rllib.cli").app).commands
    assert commands.keys() == EXAMPLES.keys()


def test_every_documented_make_target_exists():
    targets = {line.split()[1] for _, line in commands() if line.startswith("make ")}
    makefile = (ROOT / "Makefile").read_text()
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_local_link_leads_somewhere(document):
    for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if not link.startswith("http"):
            assert (document.parent / link).exists(), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_python_block_is_valid_and_imports_what_exists(document):
    for block in blocks(document, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)
            elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "empo_rllib":
                assert hasattr(import_module("empo_rllib"), node.attr), node.attr


def test_every_experiment_that_ships_is_in_the_readme_and_the_other_way_round():
    table = re.search(r"\| experiment \|.*?\n\n", (ROOT / "README.md").read_text(), re.DOTALL)
    named = set(
        re.findall(r"`(\w+)`", "\n".join(r.split("|")[1] for r in table[0].splitlines() if r))
    )
    assert named == {path.stem for path in (ROOT / "tune_configs").glob("*.yaml")}


def test_the_readme_is_read_in_minutes():
    assert len((ROOT / "README.md").read_text().split()) <= 900


def test_the_first_screen_of_the_readme_has_a_small_picture():
    first_screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:10])
    picture = ROOT / re.search(r'<img [^>]*src="([^"]+)"', first_screen)[1]
    assert picture.stat().st_size <= 150_000


def test_one_page_lists_the_exit_codes_of_the_errors():
    from empo_rllib.errors import ConfigError, Interrupted, TrialError

    page = (ROOT / "docs/running.md").read_text()
    for error in (TrialError, ConfigError, Interrupted):
        assert f"| {error.exit_code} |" in page


def test_docstrings_of_functions_have_one_mood():
    """A function "writes"; only the help page of a command says "Write the policies ..."."""
    functions = [
        (path.name, node.name, ast.get_docstring(node).split()[0])
        for path in (ROOT / "empo_rllib").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node)
        if path.parent.name != "commands"
        if not re.search("command|callback", " ".join(map(ast.unparse, node.decorator_list)))
    ]
    words = {word for *_, word in functions} - {"A", "An"}
    orders = {word for word in words if len(word) > 1 and words & {f"{word}s", f"{word}es"}}
    orders |= {"Return", "Yield", "Train", "Write", "Play", "Print", "Make"}
    assert len(functions) > 500
    assert [function for function in functions if function[2] in orders] == []
