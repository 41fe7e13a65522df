"""The private parts of Ray that the package leans on are in the installed Ray.

Ray gives no promise about them. When this fails after an upgrade, look there what took their place.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import ray

from empo_rllib.experiment.cluster import reread_ray_authentication

PACKAGE = Path(__file__).parents[2] / "empo_rllib"

ADVICE = (
    f"Ray {ray.__version__} has no {{}}: empo_rllib.experiment.cluster.reread_ray_authentication "
    "needs it so that a second experiment in one process does not use the first one's token"
)


def test_ray_can_be_made_to_read_its_authentication_again() -> None:
    raylet = importlib.import_module("ray._raylet")
    for owner, method in (("Config", "initialize"), ("AuthenticationTokenLoader", "instance")):
        assert hasattr(raylet, owner), ADVICE.format(f"ray._raylet.{owner}")
        place = f"{owner}.{method}"
        assert callable(getattr(getattr(raylet, owner), method, None)), ADVICE.format(place)
    loader = raylet.AuthenticationTokenLoader.instance()
    assert callable(getattr(loader, "reset_cache", None)), ADVICE.format("reset_cache")


def test_rays_authentication_follows_the_environment(monkeypatch, tmp_path) -> None:
    raylet = importlib.import_module("ray._raylet")
    token = tmp_path / "token"
    try:
        for number in range(2):
            token.write_text(f"{number}" * 64)
            monkeypatch.setenv("RAY_AUTH_MODE", "token")
            monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
            reread_ray_authentication()
            assert raylet.AuthenticationTokenLoader.instance().has_token()
            headers = raylet.AuthenticationTokenLoader.instance().get_token_for_http_header()
            assert f"{number}" * 64 in str(headers)
    finally:
        monkeypatch.undo()
        reread_ray_authentication()


def test_private_modules_of_ray_are_imported_in_one_place_only() -> None:
    users = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            if any(name.startswith("ray.") and "._" in name for name in names):
                users.add(path.relative_to(PACKAGE).as_posix())
    assert users == {"experiment/cluster.py"}
