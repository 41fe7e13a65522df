"""The watcher ends what belongs to a dead driver's folder, and nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from empo_rllib.experiment import watcher

PYTHON = [sys.executable, "-I", "-S"]
# Stands for a driver. It starts the watcher (argv[1:3]), prints its id, and does what it reads.
DRIVER = """
import os, subprocess, sys
watcher = subprocess.Popen(
    [sys.executable, "-I", "-S", *sys.argv[1:3], str(os.getpid())],
    stdin=subprocess.PIPE,
    start_new_session=True,
)
print(watcher.pid, flush=True)
for line in sys.stdin:
    if line == "done\\n":
        watcher.communicate(b"\\n")
    else:
        watcher.stdin.close()
    print("so", flush=True)
"""
# Holds a file open as its argument says, and prints when it does.
HOLDER = "import sys; f = open(sys.argv[1], sys.argv[2]); print('open', flush=True); input()"


class Driver:
    def __init__(self, process: subprocess.Popen, watcher_pid: int) -> None:
        self.process = process
        self.watcher_pid = watcher_pid

    def tell(self, text: str) -> None:
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "so\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "empo-01234567"
    (path / "ray").mkdir(parents=True)
    (path / "ray/log").touch()
    return path


@contextlib.contextmanager
def running(*command: str, **env: str) -> Iterator[subprocess.Popen]:
    with subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def driver(folder: Path) -> Iterator[Driver]:
    with running(*PYTHON, "-c", DRIVER, watcher.__file__, str(folder)) as process:
        yield Driver(process, int(process.stdout.readline()))


def wait_for_end(pid: int) -> None:
    """Bounded by the timeout of each test."""
    with contextlib.suppress(OSError):
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)


def is_running(process: subprocess.Popen) -> bool:
    return process.poll() is None


def test_the_processes_and_the_folder_of_a_killed_driver_go(folder, driver):
    with (
        running("sleep", "60", TMPDIR=str(folder)) as by_tmpdir,
        running(*PYTHON, "-c", HOLDER, str(folder / "ray/log"), "a") as by_file,
    ):
        assert by_file.stdout.readline() == "open\n"
        driver.kill()
        wait_for_end(driver.watcher_pid)
        assert [process.wait() for process in (by_tmpdir, by_file)] == [-signal.SIGKILL] * 2
    assert not folder.exists()


def test_a_process_that_is_started_while_they_end_goes_too(folder, driver):
    loop = "while :; do sleep 60 & sleep 0.01; done"
    with running("bash", "-c", loop, TMPDIR=str(folder), PATH=os.environ["PATH"]):
        driver.kill()
        wait_for_end(driver.watcher_pid)
        assert not list(watcher.processes_of(str(folder)))


def test_a_process_that_shows_no_variables_when_it_is_started_goes_too(folder, monkeypatch):
    found = iter([[1, 2], [], [3], [], [], [4]])
    killed = []
    monkeypatch.setattr(watcher, "processes_of", lambda folder: next(found))
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append(pid))
    watcher.end_processes(str(folder))
    assert killed == [1, 2, 3]


def test_nothing_else_is_ended(folder, driver, tmp_path):
    (tmp_path / "empo-012345678").mkdir()
    (tmp_path / "empo-012345678/log").touch()
    with (
        running("sleep", "60", TMPDIR=f"{folder}8") as longer_name,
        running("sleep", "60", TMPDIR=f"{folder}/own") as below,
        running("sleep", "60", OTHER=f"TMPDIR={folder}") as other_variable,
        running(*PYTHON, "-c", "input()", str(folder)) as argument,
        running(*PYTHON, "-c", HOLDER, str(folder / "ray/log"), "r") as reader,
        running(*PYTHON, "-c", HOLDER, f"{folder}8/log", "a") as neighbour,
    ):
        others = [longer_name, below, other_variable, argument, reader, neighbour]
        assert reader.stdout.readline() == neighbour.stdout.readline() == "open\n"
        driver.kill()
        wait_for_end(driver.watcher_pid)
        assert all(map(is_running, others))
    assert not folder.exists()


def test_processes_of_other_users_are_not_seen(folder, monkeypatch):
    with running("sleep", "60", TMPDIR=str(folder)) as process:
        assert list(watcher.processes_of(str(folder))) == [process.pid]
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        assert not list(watcher.processes_of(str(folder)))


def test_a_process_that_closes_other_files_meanwhile_is_seen(folder, monkeypatch):
    readlink = os.readlink

    def closed_meanwhile(path):
        if path.endswith("/fd/0"):
            raise FileNotFoundError(path)
        return readlink(path)

    with running(*PYTHON, "-c", HOLDER, str(folder / "ray/log"), "a") as process:
        assert process.stdout.readline() == "open\n"
        monkeypatch.setattr(os, "readlink", closed_meanwhile)
        assert list(watcher.processes_of(str(folder))) == [process.pid]


def test_a_driver_that_has_cleaned_up_leaves_nothing_to_do(folder, driver):
    with running("sleep", "60", TMPDIR=str(folder)) as process:
        driver.tell("done")  # which waits for the watcher's end
        assert is_running(process)
    assert folder.exists()


def test_a_pipe_that_is_closed_too_early_ends_nothing_before_the_driver_does(folder, driver):
    with running("sleep", "60", TMPDIR=str(folder)) as process:
        driver.tell("close")
        time.sleep(0.2)  # it would be over by then
        assert is_running(process)
        driver.kill()
        wait_for_end(driver.watcher_pid)
        assert process.wait() == -signal.SIGKILL
    assert not folder.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_to_all_of_a_session_do_not_end_it(folder, driver, number):
    wait_until_it_ignores(driver.watcher_pid, number)
    os.kill(driver.watcher_pid, number)
    driver.kill()
    wait_for_end(driver.watcher_pid)
    assert not folder.exists()


def wait_until_it_ignores(pid: int, number: int) -> None:
    while True:
        status = Path(f"/proc/{pid}/status").read_text()
        mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn"))
        if int(mask, 16) >> (number - 1) & 1:
            return
        time.sleep(0.01)


def test_the_terminal_does_not_reach_it(driver):
    assert os.getsid(driver.watcher_pid) == driver.watcher_pid


def test_it_imports_nothing_that_takes_time():
    code = "import sys; exec(open(sys.argv[1]).read(), {}); print(*sys.modules)"
    command = [*PYTHON, "-c", code, watcher.__file__]
    modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "signal" in modules
    assert not {"re", "shutil", "subprocess", "threading", "typing", "pathlib"} & set(modules)
