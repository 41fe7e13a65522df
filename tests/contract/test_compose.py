"""The compose file keeps what the documents promise of every service, without an engine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES = yaml.safe_load(TEXT)["services"]
RAY = {"ray-head", "ray-worker", "dev"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_locked_down(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == "${USER_ID:-1000}:${GROUP_ID:-1000}"


def test_every_port_is_published_on_loopback_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    for port in published:
        assert port.startswith("127.0.0.1:"), port


@pytest.mark.parametrize("name", sorted(RAY))
def test_whatever_ray_runs_in_asks_for_the_token(name: str) -> None:
    environment = SERVICES[name]["environment"]
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["RAY_AUTH_TOKEN_PATH"] == "/run/empo_rllib/token"
    assert "RAY_AUTH_TOKEN" not in environment


@pytest.mark.parametrize("name", ["ray-head", "ray-worker", "tensorboard", "dev"])
def test_every_service_of_the_image_sees_the_repository(name: str) -> None:
    assert ".:/workspace" in SERVICES[name]["volumes"]


def test_only_the_head_and_notebooks_get_gpus() -> None:
    override = yaml.safe_load((ROOT / "docker-compose.gpu.yml").read_text())["services"]
    assert override.keys() == {"ray-head", "dev"}


def test_the_base_image_is_the_dockerfiles() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    base = re.search(r"^ARG BASE_IMAGE=(.*)$", dockerfile, re.MULTILINE)[1]
    assert set(re.findall(r"\$\{BASE_IMAGE:-([^}]*)\}", TEXT)) == {base}
    assert f"#BASE_IMAGE={base}" in (ROOT / ".env.example").read_text()


def test_every_variable_is_in_the_example_of_env() -> None:
    example = (ROOT / ".env.example").read_text()
    variables = set(re.findall(r"\$\{(\w+)", TEXT)) | {"CUDA_VISIBLE_DEVICES", "WANDB_API_KEY"}
    listed = set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))
    assert variables | {"COMPOSE_FILE", "COMPOSE_PROJECT_NAME"} == listed


def test_secrets_of_the_machine_are_neither_committed_nor_built_in() -> None:
    assert "/.env" in (ROOT / ".gitignore").read_text().split()
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
