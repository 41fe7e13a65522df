"""The TCP ports that processes listen on, and what answers a stranger who has no token there."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import os
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc

_LISTENS = "0A"
_TIMEOUT_S = 30.0
_NO_ANSWER = "no answer"
# One of each of Ray's services; a process has some of them.
_CALLS = (
    "NodeInfoGcsService/GetAllNodeInfo",
    "InternalKVGcsService/InternalKVGet",
    "NodeManagerService/GetSystemConfig",
    "ObjectManagerService/Pull",
    "CoreWorkerService/PushTask",
    "ReporterService/GetTraceback",
    "LogService/ListLogs",
)
# Asked for without a token; Ray's metrics answer on every path.
_PAGE = "/api/version"


@dataclass(frozen=True)
class Door:
    """A port.

    Attributes:
        process: Whose; the name of the program or of Ray's process.
        address: Where it listens; `0.0.0.0` or `::` for everywhere.
        port: As said.
        answers: `UNAUTHENTICATED` and other codes of gRPC, or `HTTP 401` and other ones, or
            `metrics`, or why there is none.
    """

    process: str
    address: str
    port: int
    answers: frozenset[str]

    @property
    def is_silent(self) -> bool:
        """Whether it has not answered all that it was asked: it was busy, or has ended."""
        silent = (_NO_ANSWER, "DEADLINE_EXCEEDED", "UNAVAILABLE")
        return any(answer.startswith(silent) for answer in self.answers)


def try_doors(processes: Mapping[int, str]) -> list[Door]:
    """Returns the ports of processes, given as id and command line, each with its answers."""
    return [
        Door(_name(processes[pid]), address, port, frozenset(_answers(address, port)))
        for pid, address, port in listening(processes)
    ]


def listening(pids: Iterable[int]) -> Iterator[tuple[int, str, int]]:
    """Yields process, address and port of what they listen on."""
    owners = {inode: pid for pid in pids for inode in _sockets(pid)}
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENS and fields[9] in owners:
                address, port = fields[1].split(":")
                yield owners[fields[9]], _render_address(address), int(port, 16)


def _sockets(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):  # it has ended
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(f"/proc/{pid}/fd/{descriptor}")
                if target.startswith("socket:["):
                    yield target[len("socket:[") : -1]


def _render_address(words: str) -> str:
    """Returns an address of the kernel's tables, which hold words of four bytes, reversed."""
    content = bytes.fromhex(words)
    parts = [content[start : start + 4][::-1] for start in range(0, len(content), 4)]
    return str(ipaddress.ip_address(b"".join(parts)))


def _name(command: str) -> str:
    """Returns `raylet`, `dashboard.py`, `ray::DashboardAgent` or `empo_rllib.tune`."""
    program, *arguments = command.split()
    names = [program, *arguments] if program.startswith("ray::") else arguments
    words = (word for word in names if not word.startswith("-"))
    is_python = Path(program).name.startswith("python")
    return Path(next(words, program)).name if is_python else Path(program).name


def _answers(address: str, port: int) -> Iterator[str]:
    host = "127.0.0.1" if address in ("0.0.0.0", "::") else address
    try:
        with urllib.request.urlopen(f"http://{host}:{port}{_PAGE}", timeout=_TIMEOUT_S) as answer:
            yield "metrics" if answer.read().startswith(b"# HELP") else f"HTTP {answer.status}"
    except urllib.error.HTTPError as error:
        error.close()
        yield f"HTTP {error.code}"
    except (http.client.HTTPException, ConnectionResetError):
        yield from _grpc_answers(host, port)
    except OSError as error:
        yield f"{_NO_ANSWER}: {error}"


def _grpc_answers(host: str, port: int) -> Iterator[str]:
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        for call in _CALLS:
            try:
                channel.unary_unary(f"/ray.rpc.{call}")(b"", timeout=_TIMEOUT_S)
                yield "OK"
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNIMPLEMENTED:
                    yield error.code().name
