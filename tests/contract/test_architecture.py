"""Data goes one way: which part of the package may import which, and who may import Ray."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "empo_rllib"
MODULES = sorted(PACKAGE.rglob("*.py"))

# What each part may import of the others, the lowest first.
MAY_IMPORT = {
    "errors": set[str](),
    "seeding": set(),
    "statistics": set(),
    "version": set(),
    # Copied into every bundle as a package of its own.
    "bundle": {"errors.BundleError"},
    "command_line": {"errors"},
    "config": {"errors"},
    "envs": {"errors"},
    "rl_modules": {"envs.encoding"},
    "sampling": {"envs", "seeding"},
    "learning": {"envs", "sampling"},
    "algorithms": {"errors", "config", "envs", "rl_modules", "sampling", "learning"},
    "experiment": {
        "errors",
        "config",
        "envs",
        "rl_modules",
        "sampling",
        "algorithms",
        "seeding",
        "statistics",
        "version",
    },
    "results": {
        "errors",
        "config",
        "envs",
        "rl_modules",
        "algorithms",
        "experiment",
        "seeding",
        "statistics",
        "version",
    },
    "exporting": {
        "errors",
        "bundle",
        "envs",
        "rl_modules",
        "algorithms",
        "experiment",
        "results",
    },
    "doctor": {"errors", "config", "envs"},
    "service": {"errors", "command_line", "config", "experiment"},
    "cli": {
        "errors",
        "command_line",
        "config",
        "doctor",
        "experiment",
        "results",
        "exporting",
        "service",
    },
    "tune": {"errors", "command_line", "config", "experiment"},
    "__main__": {"cli"},
    "__init__": {"bundle", "config", "envs", "experiment", "results", "version"},
}

RAY_USERS = (
    "envs/",
    "rl_modules/",
    "sampling/",
    "learning/",
    "algorithms/",
    "experiment/",
    "results/policy.py",
    "exporting/",
    "service/client.py",
    "service/jobs.py",
)
RAY_AT_IMPORT = (
    "envs/env_errors.py",
    "envs/multi_agent_env.py",
    "envs/python_envs.py",
    "rl_modules/",
    "sampling/",
    "learning/",
    "algorithms/",
    "experiment/interrupt.py",
    "experiment/monitor.py",
    "experiment/prometheus.py",
    "experiment/scheduler.py",
    "experiment/trial.py",
    "experiment/tuner.py",
    "experiment/wandb.py",
    "results/policy.py",
    "exporting/build.py",
    "exporting/check.py",
    "exporting/graph.py",
    "exporting/rules.py",
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


def test_ray_is_used_by_the_parts_that_train_only() -> None:
    users = {
        name_of(path)
        for path in MODULES
        if any(module.split(".")[0] == "ray" for module in imports(path))
    }
    assert {name for name in users if not starts_with(name, (*RAY_USERS, GENERATOR))} == set()
    assert users  # the test would see one


def test_the_rest_imports_neither_ray_nor_torch_when_it_is_imported() -> None:
    heavy = {
        name_of(path)
        for path in MODULES
        if any(name.split(".")[0] in ("ray", "torch") for name in imports(path, at_import=True))
    }
    assert {name for name in heavy if not starts_with(name, (*RAY_AT_IMPORT, GENERATOR))} == set()
    assert "algorithms/builder.py" in heavy


def test_nothing_imports_the_generator() -> None:
    assert not [path for path in MODULES if "config.generate" in " ".join(imported_parts(path))]


def test_bundles_need_numpy_and_onnxruntime_alone() -> None:
    paths = [path for path in MODULES if part_of(path) == "bundle"]
    used = {name.split(".")[0] for path in paths for name in imports(path)}
    assert used - sys.stdlib_module_names == {"empo_rllib", "numpy", "onnxruntime"}
    assert paths
