"""A file or folder is as it was or as it should be, whatever happens in between."""

from __future__ import annotations

import errno
import os
import shutil

import pytest
from small_disk import fill, needs_root, small_disk

from empo_rllib.files import appearing, remove, write_whole


class Killed(BaseException):
    """Stands for a kill: nothing may run after it but what the test calls."""


@pytest.mark.parametrize("content", ["text ä\n", b"\0bytes", ""])
def test_a_file_is_written_and_replaced(tmp_path, content):
    path = tmp_path / "file.json"
    path.write_text("old")
    write_whole(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert os.listdir(tmp_path) == ["file.json"]


def test_a_new_file_has_the_permissions_of_the_users_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "file", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


@needs_root
def test_on_a_full_disk_a_file_stays_as_it_was(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        write_whole(disk / "file", "old" * 10_000)
        fill(disk, free_kb=8)
        with pytest.raises(OSError, match="No space left") as raised:
            write_whole(disk / "file", "new" * 10_000)
        assert raised.value.errno == errno.ENOSPC
        assert (disk / "file").read_text() == "old" * 10_000
        assert sorted(os.listdir(disk)) == ["file", "filler"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_kill_at_any_moment_leaves_the_old_content_or_the_new(tmp_path, monkeypatch, function):
    path = tmp_path / "file"
    path.write_text("old")
    original = getattr(os, function)

    def killed(*args):
        original(*args)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, function, killed)
        with pytest.raises(Killed):
            write_whole(path, "new")
    assert path.read_text() == ("new" if function == "replace" else "old")
    write_whole(path, "newer")  # also over what the kill has left
    assert os.listdir(tmp_path) == ["file"]


def test_content_is_flushed_before_it_gets_its_name(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda fd: (calls.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd))
    )
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    write_whole(tmp_path / "file", "text")
    assert calls == [str(tmp_path / ".file.tmp"), "replace", str(tmp_path)]


def test_a_folder_appears_with_all_that_is_in_it(tmp_path):
    for content in ("old", "new"):
        with appearing(tmp_path / "folder") as temporary:
            (temporary / "below").mkdir(parents=True)
            (temporary / "below" / "file").write_text(content)
        assert (tmp_path / "folder" / "below" / "file").read_text() == content
    assert os.listdir(tmp_path) == ["folder"]


def test_a_failure_leaves_no_trace(tmp_path):
    (tmp_path / "folder").mkdir()

    def fails():
        with appearing(tmp_path / "folder") as temporary:
            temporary.mkdir()
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fails()
    assert os.listdir(tmp_path) == ["folder"]


def test_a_folder_that_is_removed_loses_its_name_first(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()

    def killed(path, **_):
        if path.exists():
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(Killed):
            remove(tmp_path / "folder")
    assert os.listdir(tmp_path) == [".folder.old"]
    (tmp_path / "folder").mkdir()
    remove(tmp_path / "folder")
    assert os.listdir(tmp_path) == []


def test_removing_what_is_not_there_does_nothing(tmp_path):
    remove(tmp_path / "nothing")
