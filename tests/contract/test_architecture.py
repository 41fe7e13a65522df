"""Data goes one way: which part of the package may import which, and who may import Ray."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "empo_rllib"
MODULES = sorted(PACKAGE.rglob("*.py"))

# What each part may import of the others, the lowest first.
MAY_IMPORT = {
    "columns": set[str](),
    "errors": set(),
    "files": set(),
    "help_examples": set(),
    "json_text": set(),
    "terminal": set(),
    "streams": {"terminal"},
    "console": {"terminal"},
    "rllib_imports": set(),
    "seeding": set(),
    "statistics": set(),
    "version": set(),
    # Copied into every bundle as a package of its own.
    "bundle": {"errors.BundleError"},
    "config": {"columns", "errors", "files"},
    "command_line": {"errors", "streams", "terminal", "config"},
    "trials": {"config"},
    "envs": {"errors", "files", "seeding"},
    "rl_modules": {"envs.adapting", "envs.encoding", "envs.masks"},
    "kernels": {"envs", "rl_modules"},
    "acting": {"errors", "envs", "kernels"},
    "sampling": {"columns", "envs", "acting", "rllib_imports", "seeding"},
    "learning": {"envs", "kernels", "acting", "sampling"},
    "algorithms": {"columns", "errors", "config", "envs", "rl_modules", "sampling", "learning"},
    "experiment": {
        "columns",
        "errors",
        "files",
        "json_text",
        "terminal",
        "streams",
        "console",
        "config",
        "trials",
        "envs",
        "rl_modules",
        "rllib_imports",
        "sampling",
        "algorithms",
        "seeding",
        "statistics",
        "version",
    },
    "results": {
        "console",
        "columns",
        "errors",
        "files",
        "json_text",
        "config",
        "trials",
        "envs",
        "rl_modules",
        "acting",
        "algorithms",
        "experiment",
        "seeding",
        "statistics",
        "version",
    },
    "exporting": {
        "console",
        "errors",
        "files",
        "json_text",
        "bundle",
        "envs",
        "rl_modules",
        "acting",
        "algorithms",
        "experiment",
        "results",
        "seeding",
    },
    "doctor": {"errors", "config", "envs", "algorithms", "trials"},
    "profiling": {
        "console",
        "errors",
        "config",
        "envs",
        "acting",
        "learning",
        "algorithms",
        "experiment",
        "seeding",
    },
    "testing": {"config", "doctor", "envs"},
    "service": {"errors", "files", "json_text", "terminal", "command_line", "config", "experiment"},
    "commands": {
        "errors",
        "console",
        "command_line",
        "terminal",
        "config",
        "doctor",
        "experiment",
        "results",
        "exporting",
        "profiling",
        "service",
        "trials",
    },
    "tune": {"errors", "console", "command_line", "config", "experiment", "help_examples"},
    "cli": {"command_line", "commands", "help_examples", "tune", "version"},
    "__main__": {"cli"},
    "__init__": {
        "algorithms",
        "bundle",
        "config",
        "envs",
        "experiment",
        "results",
        "sampling",
        "version",
    },
}

# Who may import Ray or torch at import, itself or by way of others. The rest answers at once.
RAY_AT_IMPORT = (
    "envs/env_errors.py",
    "envs/multi_agent_env.py",
    "envs/python_envs.py",
    "rl_modules/",
    "kernels/",
    "acting/",
    "sampling/",
    "learning/",
    "algorithms/accelerate.py",
    "profiling/",
    "rllib_imports.py",
    "algorithms/builder.py",
    "algorithms/callbacks.py",
    "algorithms/networks.py",
    "algorithms/torch_compiler.py",
    "experiment/array.py",
    "experiment/custom_metrics.py",
    "experiment/dry_run.py",
    "experiment/interrupt.py",
    "experiment/monitor.py",
    "experiment/plan.py",
    "experiment/population_scheduler.py",
    "experiment/prometheus.py",
    "experiment/scheduler.py",
    "experiment/search.py",
    "experiment/start.py",
    "experiment/trial.py",
    "experiment/tune_memory.py",
    "experiment/tuner.py",
    "experiment/wandb.py",
    "results/load.py",
    "exporting/build.py",
    "exporting/check.py",
    "exporting/graph.py",
    "exporting/rules.py",
)
# Whole parts that know neither, not even in a function.
WITHOUT_RAY = (
    "bundle",
    "cli",
    "command_line",
    "config",
    "doctor",
    "errors",
    "statistics",
    "version",
)
# Writes `rllib_params.json` from the installed RLlib; nothing imports it.
GENERATOR = "config/generate.py"


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, at_import: bool = False) -> Iterator[str]:
    """Yields the modules that a file imports, dotted.

    With `at_import` only what runs when the file itself is imported, so nothing inside functions
    and nothing for the type checker.
    """
    todo: list[ast.AST] = [ast.parse(path.read_text())]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            relative = node.level == 1 and part_of(path) == "bundle"
            assert node.level == 0 or relative, f"{name_of(path)} imports relatively"
            module = f"empo_rllib.bundle.{node.module}" if relative else node.module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        skipped = at_import and (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
        )
        if not skipped:
            todo += ast.iter_child_nodes(node)


def imported_parts(path: Path) -> set[str]:
    """The modules of this package that a file imports, without the package's name."""
    names = (name.split(".", 1) for name in imports(path) if name.startswith("empo_rllib."))
    return {rest for _, rest in names}


def module_of(path: Path) -> str:
    """Returns the dotted name of a file's module; a package's is that of its folder."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


NAMES = {module_of(path) for path in MODULES}


def modules_in(imported: Iterable[str]) -> set[str]:
    """Returns the modules of this package among imported names, some of which are in modules."""
    found = (n if n in NAMES else n.rpartition(".")[0] for n in imported)
    return {name for name in found if name in NAMES}


def starts_with(name: str, prefixes: tuple[str, ...]) -> bool:
    return name.startswith(prefixes)


def test_every_part_of_the_package_has_its_place() -> None:
    assert {part_of(path) for path in MODULES} <= MAY_IMPORT.keys()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    own = part_of(path)
    allowed = {own, *MAY_IMPORT[own]}
    wrong = {
        module
        for module in imported_parts(path)
        if not any(module == name or module.startswith(f"{name}.") for name in allowed)
    }
    assert wrong == set()


def test_parts_stand_above_all_that_they_import() -> None:
    order = list(MAY_IMPORT)
    upwards = {
        (part, other)
        for part, others in MAY_IMPORT.items()
        for other in others
        if order.index(other.split(".")[0]) > order.index(part)
    }
    assert upwards == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Counts every import: also those in functions and those for the type checker."""
    graph = {module_of(path): modules_in(imports(path)) - {module_of(path)} for path in MODULES}
    assert any(graph.values())
    while ends := {m for m, others in graph.items() if not others} or graph.keys() - set().union(
        *graph.values()
    ):
        graph = {m: others - ends for m, others in graph.items() if m not in ends}
    assert graph == {}


def test_nothing_but_what_trains_or_plays_imports_ray_or_torch_when_it_is_imported() -> None:
    """Also not by way of others."""
    heavy = {
        module_of(path)
        for path in MODULES
        if any(name.split(".")[0] in ("ray", "torch") for name in imports(path, at_import=True))
    }
    graph = {module_of(path): modules_in(imports(path, at_import=True)) for path in MODULES}
    while more := {m for m, others in graph.items() if m not in heavy and others & heavy}:
        heavy |= more
    names = {name_of(path) for path in MODULES if module_of(path) in heavy}
    assert "algorithms/builder.py" in names
    assert {name for name in names if not starts_with(name, (*RAY_AT_IMPORT, GENERATOR))} == set()


def test_parts_that_know_no_ray_import_it_nowhere() -> None:
    users = {
        name_of(path)
        for path in MODULES
        if part_of(path) in WITHOUT_RAY
        and any(module.split(".")[0] in ("ray", "torch") for module in imports(path))
    }
    assert users - {GENERATOR} == set()


def test_nothing_imports_the_generator() -> None:
    assert not [path for path in MODULES if "config.generate" in " ".join(imported_parts(path))]


def test_bundles_need_numpy_and_onnxruntime_alone() -> None:
    paths = [path for path in MODULES if part_of(path) == "bundle"]
    used = {name.split(".")[0] for path in paths for name in imports(path)}
    assert used - sys.stdlib_module_names == {"empo_rllib", "numpy", "onnxruntime"}
    assert paths
