"""The temporary folder of a local run goes with the run; so do those of runs that died."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from empo_rllib.errors import ResourceError
from empo_rllib.experiment import temporary_folder as module
from empo_rllib.experiment.temporary_folder import (
    RAY_FOLDER,
    TOKEN_FILE,
    remove_leftovers,
    short_temp_folder,
    temporary_folder,
)

# Makes the folder, prints it and waits.
DRIVER = """
from empo_rllib.experiment.temporary_folder import temporary_folder
with temporary_folder() as folder:
    print(folder, flush=True)
    input()
"""
NAME = "empo-0123abc_"


@pytest.fixture
def temp(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "short_temp_folder", lambda: str(tmp_path))
    return tmp_path


@pytest.fixture
def driver():
    """A process that runs `DRIVER` with a short TMPDIR: it, and its folder."""
    with (
        tempfile.TemporaryDirectory(prefix="tf-", dir="/tmp") as temp,
        subprocess.Popen(
            [sys.executable, "-c", DRIVER],
            env={**os.environ, "TMPDIR": temp},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def left(parent, name=NAME, **files):
    """Writes the folder of a run that is over."""
    folder = parent / name
    folder.mkdir()
    for path, content in (files or {TOKEN_FILE: "0" * 64}).items():
        (folder / path).write_text(content)
    return folder


@pytest.mark.parametrize(
    ("preferred", "chosen"),
    [
        ("/scratch/me", "/scratch/me"),
        ("/" + "x" * 20, "/" + "x" * 20),
        ("/" + "x" * 21, "/tmp"),
        ("/" + "ä" * 11, "/tmp"),  # two bytes each
    ],
)
def test_rays_sockets_are_in_a_folder_whose_path_is_short_enough(monkeypatch, preferred, chosen):
    monkeypatch.setattr(tempfile, "gettempdir", lambda: preferred)
    assert short_temp_folder() == chosen
    folder = str(Path(chosen, "empo-12345678", RAY_FOLDER))
    socket = "/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
    assert len(folder) <= 39
    assert len(folder + socket) < 107


def test_the_folder_and_its_token_are_for_its_user_only_and_go(temp):
    with temporary_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / TOKEN_FILE).stat().st_mode & 0o777 == 0o600
        assert re.fullmatch("[0-9a-f]{64}", (folder / TOKEN_FILE).read_text())
    assert list(temp.iterdir()) == []


def test_a_temporary_folder_that_cannot_be_made_is_an_error_that_names_the_cure(temp, monkeypatch):
    def refuse(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.fcntl, "flock", refuse)
    with pytest.raises(ResourceError, match=r"No space left on device\. .* TMPDIR=/path"):
        temporary_folder().__enter__()
    assert list(temp.iterdir()) == []


def test_a_killed_run_leaves_no_folder(driver):
    process, folder = driver
    assert folder.is_dir()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    while folder.exists():  # bounded by the test's timeout
        pass


def test_what_dead_runs_left_is_removed_and_named(temp, caplog):
    folders = [left(temp), left(temp, "empo-older_77", **{"session_latest": ""})]
    remove_leftovers(temp)
    assert list(temp.iterdir()) == []
    (record,) = caplog.records
    assert all(str(folder) in record.getMessage() for folder in folders)


def test_the_next_run_does_this(temp, caplog):
    folder = left(temp)
    with temporary_folder() as own:
        assert list(temp.iterdir()) == [own]
    assert str(folder) in caplog.text


def test_a_living_runs_folder_stays(driver, caplog):
    _, folder = driver
    remove_leftovers(folder.parent)
    assert (folder / TOKEN_FILE).exists()
    assert not caplog.records


def test_a_folder_stays_while_a_process_of_the_run_lives(temp):
    folder = left(temp)
    with subprocess.Popen(["sleep", "60"], env={"TMPDIR": str(folder)}) as process:
        remove_leftovers(temp)
        assert folder.exists()
        process.kill()
    remove_leftovers(temp)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("empo-aB3dE6", {TOKEN_FILE: "0" * 64}),  # a SLURM job's
        ("empo-datasets2", {TOKEN_FILE: "0" * 64}),
        (NAME, {"notes.txt": "mine"}),
        (NAME, {TOKEN_FILE: ""}),  # about to be locked
    ],
)
def test_other_folders_stay(temp, caplog, name, files):
    folder = left(temp, name, **files)
    remove_leftovers(temp)
    assert folder.exists()
    assert not caplog.records


def test_links_to_folders_and_other_users_folders_stay(temp, tmp_path_factory, monkeypatch):
    target = left(tmp_path_factory.mktemp("elsewhere"))
    (temp / NAME).symlink_to(target)
    remove_leftovers(temp)
    assert (target / TOKEN_FILE).exists()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    remove_leftovers(target.parent)
    assert (target / TOKEN_FILE).exists()
