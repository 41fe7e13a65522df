"""Runs in ray-head: tries each way into the cluster with no token, a wrong one and the right one.

Prints a line `token: way: refused` or `token: way: accepted` for each. A way that fails for another
reason than the token shows with the right one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

INIT = "import ray; ray.init('{address}', log_to_driver=False); print(len(ray.nodes()))"
SUBMIT = (
    "from ray.job_submission import JobSubmissionClient as C; "
    "print(C('http://127.0.0.1:8265').submit_job(entrypoint='true'))"
)
# A node of its own: its folder, and a port that no other node here has.
NODE = (
    *("ray", "start", "--address=ray-head:6379", "--num-cpus=0", "--object-store-memory=80000000"),
    "--disable-usage-stats",
)


def environment(token: str) -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
    if token == "none":
        return env
    if token == "right":
        return {
            **env,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": os.environ["RAY_AUTH_TOKEN_PATH"],
        }
    return {**env, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64}


def succeeds(command: list[str], env: dict[str, str]) -> bool:
    """Runs it; what it says of its failure goes to stderr, for when the right token is refused."""
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        print(f"{command[-1]}: no answer in 120 s", file=sys.stderr)
        return False
    if done.returncode != 0:
        print(f"{command[-1]}: {done.stderr[-500:]}", file=sys.stderr)
    return done.returncode == 0


def reaches_ray_client(token: str) -> bool:
    """Asked more than once with the right token: as a process of its own for a client is forked, it
    dies now and then (github.com/ray-project/ray/issues/63202), and Ray says so by a timeout."""
    command = [sys.executable, "-c", INIT.format(address="ray://ray-head:10001")]
    tries = 5 if token == "right" else 1
    return any(succeeds(command, environment(token)) for _ in range(tries))


def joins(token: str) -> bool:
    name, port = f"tried-{token}", {"none": 53365, "wrong": 53366, "right": 53367}[token]
    own = (f"--node-name={name}", f"--dashboard-agent-listen-port={port}")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        succeeds([*NODE, *own], {**environment(token), "RAY_TMPDIR": folder})
        listed = subprocess.run(
            ["ray", "list", "nodes", "--format=json", "--timeout=120"],
            capture_output=True,
            text=True,
            check=True,
        )
        end_node(folder)
    return name in listed.stdout


def end_node(folder: str) -> None:
    """Kills the processes of a node that was started with this folder."""
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"RAY_TMPDIR={folder}".encode() in environ.read_bytes():
                os.kill(int(environ.parent.name), signal.SIGKILL)


def reads_dashboard(env: dict[str, str]) -> bool:
    headers = {}
    if "RAY_AUTH_TOKEN" in env:
        headers = {"Authorization": f"Bearer {env['RAY_AUTH_TOKEN']}"}
    elif "RAY_AUTH_TOKEN_PATH" in env:
        with open(env["RAY_AUTH_TOKEN_PATH"]) as file:
            headers = {"Authorization": f"Bearer {file.read().strip()}"}
    request = urllib.request.Request("http://127.0.0.1:8265/api/jobs/", headers=headers)
    try:
        return urllib.request.urlopen(request, timeout=120).status == 200
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return False
        raise


def attempts(token: str) -> dict[tuple[str, str], Future[bool]]:
    env = environment(token)
    python = [sys.executable, "-c"]
    return {
        (token, "dashboard API"): pool.submit(reads_dashboard, env),
        (token, "job submission"): pool.submit(succeeds, [*python, SUBMIT], env),
        (token, "ray.init"): pool.submit(
            succeeds, [*python, INIT.format(address="ray-head:6379")], env
        ),
        (token, "ray://"): pool.submit(reaches_ray_client, token),
        (token, "node join"): pool.submit(joins, token),
    }


# Most of an attempt that is refused is waiting. One with the right token works, and has the CPUs
# for itself: Ray Client's server refuses what takes it more than 30 s.
for tokens, at_once in ((("none", "wrong"), 5), (("right",), 1)):
    with ThreadPoolExecutor(at_once) as pool:
        tried = {way: outcome for token in tokens for way, outcome in attempts(token).items()}
        for (token, way), accepted in tried.items():
            print(f"{token}: {way}: {'accepted' if accepted.result() else 'refused'}")
