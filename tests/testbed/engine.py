"""A Docker Engine of the tests' own, in a network of its own, as root.

The engine and the ports it publishes live in a network namespace: the machine's firewall, ports and
other engines are untouched, and "on the host" means in that namespace. slirp4netns connects it to
the outside, for package downloads in builds. What it has built stays for the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

# Each ends by itself: only a hang reaches them.
_START_S, _END_S, _COMMAND_S = 180.0, 120.0, 3600.0
# A stand-in for NVIDIA's runtime hook: it lets device reservations through and mounts nothing.
_GPU_HOOK = "#!/bin/sh\ncat >/dev/null\n"


class Engine:
    """A running engine.

    Args:
        prefix: Where tests/testbed/install_docker.sh unpacked it; its images are there too.
        folder: For all else; it goes with the engine.
        lock: The open file that is locked while the engine is used.
    """

    def __init__(self, prefix: Path, folder: Path, lock: int) -> None:
        self.folder = folder
        self._lock = lock
        self._data = prefix / "data"
        folder.chmod(0o711)  # the host's user of the tests, who is not root, reaches the socket
        self.socket = folder / "docker.sock"
        hooks = folder / "hooks"
        hooks.mkdir()
        hook = hooks / "nvidia-container-runtime-hook"
        hook.write_text(_GPU_HOOK)
        hook.chmod(0o755)
        programs = [prefix / "root/usr/bin", prefix / "root/usr/sbin", hooks]
        self.env = {
            **{
                k: v
                for k, v in os.environ.items()
                if not k.startswith(("RAY_", "COMPOSE_", "MAKE", "MFLAGS"))
            },
            "PATH": ":".join([*map(str, programs), os.environ["PATH"], "/usr/sbin:/sbin"]),
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_CONFIG": str(prefix / "config"),
        }
        self._processes: list[subprocess.Popen] = []

    def start(self) -> None:
        holder = self._start(["unshare", "--net", "sleep", "infinity"], "network")
        self._wait(lambda: self._own_network(holder.pid), "a network namespace")
        self._enter = ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]
        self.on_host(["ip", "link", "set", "lo", "up"])
        self._start(
            ["slirp4netns", "--configure", "--mtu=1400", str(holder.pid), "tap0"], "slirp4netns"
        )
        self._wait(
            lambda: "tap0" in self.on_host(["ip", "route", "show", "default"]).stdout,
            "slirp4netns",
        )
        where = ["--data-root", self._data, "--exec-root", self.folder / "exec"]
        where += ["--pidfile", self.folder / "pid", "--host", f"unix://{self.socket}"]
        self._start(
            [*self._enter, "dockerd", *map(str, where), "--storage-driver=overlay2"], "dockerd"
        )
        self._wait(lambda: self.docker("version", check=False).returncode == 0, "dockerd")
        self.socket.chmod(0o600)

    def forget(self) -> None:
        """Removes what engines before this one have left; to be called before `start`."""
        unmount = ["umount", "--recursive", self._data]
        while subprocess.run(unmount, stderr=subprocess.DEVNULL).returncode == 0:
            pass  # a dockerd that was killed has left a mount of its own there
        if self._data.exists():
            shutil.rmtree(self._data)

    def stop(self) -> None:
        """Ends the engine, by process id, and removes its containers and volumes."""
        try:
            if self.socket.exists():
                self._clear()
        finally:
            self._end()

    def _clear(self) -> None:
        names = self.docker("ps", "--all", "--quiet", check=False).stdout.split()
        if names:
            self.docker("rm", "--force", *names, check=False)
        for what in (["volume", "prune", "--all"], ["image", "prune"]):
            self.docker(*what, "--force", check=False)

    def _end(self) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def docker(
        self, *args: object, check: bool = True, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return run(["docker", *map(str, args)], self.env, check=check, input=input)

    def on_host(
        self,
        command: Sequence[str],
        *,
        check: bool = True,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        user: int | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command where the ports are published, as root or as another user."""
        return run(self.host_command(command, user), {**self.env, **(env or {})}, check, cwd=cwd)

    def host_command(self, command: Sequence[str], user: int | None = None) -> list[str]:
        """Returns what runs `command` on the host, for those who start it themselves."""
        identity = [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        as_user = ["setpriv", *identity] if user is not None else []
        return [*self._enter, *as_user, *command]

    def main_process(self, container: str) -> int:
        """Returns the process id, seen from outside, of a container's main process."""
        return int(self.docker("inspect", "--format", "{{.State.Pid}}", container).stdout)

    def _start(self, command: list[str], name: str) -> subprocess.Popen:
        with (self.folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                command,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the tests is not for them
                pass_fds=[self._lock],  # held as long as one of them lives
            )
        self._processes.append(process)
        return process

    def _wait(self, condition, name: str) -> None:
        deadline = time.monotonic() + _START_S
        while not condition():
            if time.monotonic() > deadline or any(p.poll() is not None for p in self._processes):
                logs = "\n".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))
                raise RuntimeError(f"{name} did not start:\n{logs}")
            time.sleep(0.1)

    @staticmethod
    def _own_network(pid: int) -> bool:
        return os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")


def run(
    command: Sequence[str],
    env: Mapping[str, str],
    check: bool = True,
    *,
    cwd: Path | None = None,
    input: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end; with `check` a failure shows what it printed."""
    done = subprocess.run(
        command,
        env=dict(env),
        cwd=cwd,
        input=input,
        capture_output=True,
        text=True,
        timeout=_COMMAND_S,
    )
    if check and done.returncode:
        raise AssertionError(
            f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
    return done


@contextlib.contextmanager
def running_engine(prefix: Path, fresh: bool = False) -> Iterator[Engine]:
    """A started `Engine` that is gone afterwards; a `fresh` one has nothing built or pulled."""
    lock = (prefix / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RuntimeError(f"{prefix} is in use: wait for the other tests to end") from None
    # Not in /tmp, which hosts of `slurm.py` do not share: they reach the socket too.
    folder = Path(tempfile.mkdtemp(prefix="docker-", dir="/var/tmp"))
    engine = Engine(prefix, folder, lock.fileno())
    try:
        if fresh:
            engine.forget()
        engine.start()
        yield engine
    finally:
        engine.stop()
        lock.close()
