"""A SLURM cluster of the tests' own on one machine, as root.

A login node with the controller, and compute nodes. Each has a network address, a host name,
process ids, /tmp and /dev/shm of its own (Linux namespaces); /home is the file system that all
share. There is no way out of their network: what a job downloaded would fail.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from engine import run
from repository import wait_until

USERS = {"root": 0, "ada": 1234, "ben": 1235}
_NETWORK = "10.77.0"
# Each node says that it has these, whatever the machine has: jobs must fit side by side.
CPUS, MEMORY_MB = 16, 64_000

# SLURM starts a requeued job when a permission to start steps, `cred_expire` in s, has run out: 120
# would be long to wait, and on a busy machine a node takes more than 5 to look at one.
_SLURM_CONF = """
ClusterName=tests
SlurmctldHost=login({network}.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=20
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld
SlurmdLogFile={folder}/log/slurmd-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=2048
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmdTimeout=30
MinJobAge=3600
KillWait=30
MessageTimeout=30
SchedulerParameters=sched_interval=2,batch_sched_delay=0
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=node[1-{nodes}] CPUs={cpus} RealMemory={memory} Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=01:00:00 PriorityTier=1 State=UP
PartitionName=urgent Nodes=ALL MaxTime=01:00:00 PriorityTier=10 State=UP
"""

# What a host does before its daemon starts; `$F` is the cluster's folder.
_BOOT = """
set -e
hostname $NAME
ip link set lo up
mount --bind $F/etc/hosts /etc/hosts
mount --bind $F/etc/passwd /etc/passwd
mount --bind $F/etc/group /etc/group
mkdir -p /etc/slurm; mount --bind $F/etc/slurm /etc/slurm
mount --bind $F/home /home
mount -t tmpfs -o size=4g,mode=1777 tmp /tmp
mount -t tmpfs -o size=4g,mode=1777 shm /dev/shm
mknod -m 666 /tmp/.fuse c 10 229; mount --bind /tmp/.fuse /dev/fuse
touch /tmp/.booted
"""


# What hosts have of their own, or share in the place of this machine's.
_NOT_SHARED = ("/tmp", "/dev/shm", "/home")


def why_not_seen_by_hosts(path: Path) -> str | None:
    """Returns why jobs would not find a clone or a virtual environment, or None: they would."""
    for folder in _NOT_SHARED:
        if path.resolve().is_relative_to(folder):
            return (
                f"{path}: the nodes of the tests' cluster have a {folder} of their own and would "
                "not find it. Run these tests in a clone elsewhere, for example below /var/tmp."
            )
    return None


class Host:
    """The login node or a compute node: namespaces that live and die with one process."""

    def __init__(self, name: str, address: str, folder: Path, command: list[str]) -> None:
        self.name = name
        self.address = address
        self._folder = folder
        self._command = command
        self._holder: subprocess.Popen | None = None
        self._daemon: subprocess.Popen | None = None
        self._init = 0

    def boot(self, env: Mapping[str, str], network: int | None) -> None:
        """Starts it, its network plugged into the bridge in the namespace of process `network`."""
        flags = ["--net", "--uts", "--ipc", "--pid", "--mount", "--mount-proc", "--fork"]
        self._holder = subprocess.Popen(
            # A shell as the first process buries the orphans.
            ["unshare", *flags, "--kill-child", "bash", "-c", "sleep infinity & wait"],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        wait_until(lambda: bool(children.read_text().split()), f"{self.name}'s first process")
        self._init = int(children.read_text().split()[0])
        wait_until(lambda: self._has_own("pid_for_children"), f"{self.name}'s namespaces")
        self._connect(network)
        self.run(["bash", "-c", _BOOT], {**env, "NAME": self.name, "F": str(self._folder)})
        with (self._folder / "log" / self.name).open("a") as log:
            self._daemon = subprocess.Popen(
                self.command(self._command),
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _has_own(self, namespace: str) -> bool:
        own = f"/proc/self/ns/{namespace}"
        return os.readlink(f"/proc/{self._init}/ns/{namespace}") != os.readlink(own)

    def _connect(self, network: int | None) -> None:
        address = ["ip", "address", "add", f"{self.address}/24", "dev"]
        if network is None:
            self.run(["ip", "link", "add", "bridge0", "type", "bridge"])
            self.run([*address, "bridge0"])
            self.run(["ip", "link", "set", "bridge0", "up"])
            return
        inside = ["nsenter", f"--net=/proc/{network}/ns/net"]
        port = f"to-{self.name}"
        run([*inside, "ip", "link", "delete", port], os.environ, check=False)  # of its last life
        pair = ["ip", "link", "add", port, "type", "veth"]
        run([*inside, *pair, "peer", "name", "eth0", "netns", str(self._init)], os.environ)
        run([*inside, "ip", "link", "set", port, "master", "bridge0", "up"], os.environ)
        self.run([*address, "eth0"])
        self.run(["ip", "link", "set", "eth0", "up"])

    @property
    def pid(self) -> int:
        """The process id of its first process, seen from outside."""
        return self._init

    def command(self, command: Sequence[str], user: str | None = None) -> list[str]:
        """Returns what runs `command` there, as root or as a user."""
        enter = ["nsenter", f"--target={self._init}", "--net", "--uts", "--ipc", "--pid", "--mount"]
        identity = []
        if user is not None:
            number = USERS[user]
            identity = ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups"]
        return [*enter, *identity, *command]

    def run(
        self,
        command: Sequence[str],
        env: Mapping[str, str] = os.environ,
        *,
        user: str | None = None,
        cwd: Path | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        where = ["env", f"--chdir={cwd}"] if cwd else []
        return run(self.command([*where, *command], user), env, check)

    def kill(self) -> None:
        """What a power cut does: every process is gone at once."""
        for process in filter(None, (self._holder, self._daemon)):
            process.kill()
            process.wait()
        self._holder = self._daemon = None


class Slurm:
    """A running cluster. `home` is the shared /home, seen from outside."""

    def __init__(self, apptainer: Path, num_nodes: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/var/tmp"))
        self.folder.chmod(0o755)
        self.home = self.folder / "home"
        programs = f"{apptainer}/root/usr/bin"
        path = f"{programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.env = {"PATH": path, "LANG": "C.UTF-8"}
        self.login = Host("login", f"{_NETWORK}.1", self.folder, ["slurmctld", "-D"])
        names = [f"node{i + 1}" for i in range(num_nodes)]
        self.nodes = {
            name: Host(name, f"{_NETWORK}.{11 + i}", self.folder, ["slurmd", "-D", "-N", name])
            for i, name in enumerate(names)
        }
        self._munge: subprocess.Popen | None = None

    def start(self) -> None:
        self._write_files()
        self._start_munge()
        self.login.boot(self.env, None)
        for node in self.nodes.values():
            node.boot(self.env, self.login.pid)
        wait_until(lambda: self.nodes_that_are("idle") == set(self.nodes), "idle nodes")

    def stop(self) -> None:
        for host in (*self.nodes.values(), self.login):
            host.kill()
        if self._munge is not None:
            self._munge.terminate()
            self._munge.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def reboot(self, name: str) -> None:
        """Brings a killed node back; a job that waits for it may have it at once."""
        self.nodes[name].boot(self.env, self.login.pid)
        up = "idle,mixed,allocated"
        wait_until(lambda: name in self.nodes_that_are(up), f"{name} to be up")

    def nodes_that_are(self, states: str) -> set[str]:
        shown = self.login.run(
            ["sinfo", "-h", "-N", "-t", states, "-o", "%N"], self.env, check=False
        )
        return set(shown.stdout.split())

    def on_login(
        self,
        user: str,
        *command: str,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Types a command on the login node, `cwd` being a path there."""
        own = {"HOME": f"/home/{user}", "USER": user, "LOGNAME": user, **self.env, **(env or {})}
        return self.login.run(command, own, user=user, cwd=cwd, check=check)

    def _write_files(self) -> None:
        for name in ("etc/slurm", "log", "state", "munge", "home"):
            (self.folder / name).mkdir(parents=True)
        addresses = {host.name: host.address for host in (self.login, *self.nodes.values())}
        hosts = ["127.0.0.1 localhost", *(f"{a} {name}" for name, a in addresses.items())]
        self._write("hosts", hosts)
        people = {name: number for name, number in USERS.items() if number}
        users = [f"{name}:x:{n}:{n}::/home/{name}:/bin/bash" for name, n in people.items()]
        self._write("passwd", [*Path("/etc/passwd").read_text().splitlines(), *users])
        groups = [f"{name}:x:{number}:" for name, number in people.items()]
        self._write("group", [*Path("/etc/group").read_text().splitlines(), *groups])
        settings = {"folder": self.folder, "nodes": len(self.nodes), "network": _NETWORK}
        conf = _SLURM_CONF.format(**settings, cpus=CPUS, memory=MEMORY_MB)
        self._write("slurm/slurm.conf", [conf])
        # Any two devices stand for GPUs.
        self._write("slurm/gres.conf", ["Name=gpu File=/dev/loop[0-1]"])
        for name, number in USERS.items():
            (self.home / name).mkdir(mode=0o700)
            os.chown(self.home / name, number, number)

    def _write(self, name: str, lines: Sequence[str]) -> None:
        (self.folder / "etc" / name).write_text("\n".join([*lines, ""]))

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        key = folder / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        files = {"key-file": key, "socket": folder / "socket", "pid-file": folder / "pid"}
        files |= {"log-file": folder / "log", "seed-file": folder / "seed"}
        options = [f"--{name}={path}" for name, path in files.items()]
        self._munge = subprocess.Popen(
            ["munged", "--foreground", "--force", *options], start_new_session=True
        )
        wait_until(files["socket"].exists, "munged")


@contextlib.contextmanager
def running_slurm(apptainer: Path, num_nodes: int) -> Iterator[Slurm]:
    """A started `Slurm` that is gone afterwards."""
    slurm = Slurm(apptainer, num_nodes)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()
