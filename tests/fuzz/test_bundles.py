"""Bundles: damaged ones, and ones made up so that sizes and SHA-256 fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import small_bundles
from harness import changed_bytes, changed_data, fuzz, json_bytes, succeeds_or_tells
from hypothesis import strategies as st

from empo_rllib.bundle import load_bundle
from empo_rllib.bundle.__main__ import printable, render

NAMES = ["policies", "agents", "inputs", "memory", "action", "kind", "size", "box", "shape"]


def read(folder: Path) -> None:
    """Loads a bundle, prints what it says of itself, and acts."""
    bundle = load_bundle(folder)
    printable(render(bundle)).encode()
    for agent in bundle.agents:
        bundle.act(np.zeros(2, np.float32), agent)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored") / "bundle"
    small_bundles.write(folder)
    read(folder)
    return folder


@pytest.fixture(scope="module")
def folder(stored: Path) -> Path:
    return stored.with_name("damaged")


def copy(stored: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(stored, folder)


@fuzz(data=st.data())
def test_damaged_bundles(stored: Path, folder: Path, data: st.DataObject) -> None:
    copy(stored, folder)
    path = data.draw(st.sampled_from(sorted(p for p in folder.rglob("*") if p.is_file())))
    path.write_bytes(data.draw(changed_bytes(path.read_bytes())))
    succeeds_or_tells(read, folder)


@fuzz(data=st.data())
def test_made_up_descriptions(stored: Path, folder: Path, data: st.DataObject) -> None:
    copy(stored, folder)
    path = folder / "bundle.json"
    content = json.loads(path.read_text())
    path.write_bytes(json_bytes(data.draw(changed_data(content, NAMES))))
    succeeds_or_tells(read, folder)


@fuzz(data=st.data())
def test_made_up_networks(stored: Path, folder: Path, data: st.DataObject) -> None:
    copy(stored, folder)
    name = "policies/walker.onnx"
    content = data.draw(changed_bytes((folder / name).read_bytes()))
    small_bundles.replace(folder, name, content)
    succeeds_or_tells(read, folder)
