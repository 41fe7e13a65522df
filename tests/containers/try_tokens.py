"""Runs in ray-head: tries each way into the cluster with no token, a wrong one or the right one.

Prints a line `way: refused` or `way: accepted` for each. A way that fails for another reason than
the token shows with the right one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

INIT = "import ray; ray.init('{address}', log_to_driver=False); print(len(ray.nodes()))"
SUBMIT = (
    "from ray.job_submission import JobSubmissionClient as C; "
    "print(C('http://127.0.0.1:8265').submit_job(entrypoint='true'))"
)
# A node of its own: its folder, and ports that the head's node does not have.
NODE = (
    *("ray", "start", "--address=ray-head:6379", "--num-cpus=0", "--object-store-memory=80000000"),
    *("--dashboard-agent-listen-port=53365", "--node-name=tried", "--disable-usage-stats"),
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
    try:
        return subprocess.run(command, env=env, capture_output=True, timeout=60).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def joins(env: dict[str, str]) -> bool:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        succeeds([*NODE], {**env, "RAY_TMPDIR": folder})
        listed = subprocess.run(
            ["ray", "list", "nodes", "--format=json"], capture_output=True, text=True, check=True
        )
    return "tried" in listed.stdout


def reads_dashboard(env: dict[str, str]) -> bool:
    headers = {}
    if "RAY_AUTH_TOKEN" in env:
        headers = {"Authorization": f"Bearer {env['RAY_AUTH_TOKEN']}"}
    elif "RAY_AUTH_TOKEN_PATH" in env:
        with open(env["RAY_AUTH_TOKEN_PATH"]) as file:
            headers = {"Authorization": f"Bearer {file.read().strip()}"}
    request = urllib.request.Request("http://127.0.0.1:8265/api/jobs/", headers=headers)
    try:
        return urllib.request.urlopen(request, timeout=10).status == 200
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return False
        raise


def main() -> None:
    env = environment(sys.argv[1])
    python = [sys.executable, "-c"]
    outcome = {
        "dashboard API": reads_dashboard(env),
        "job submission": succeeds([*python, SUBMIT], env),
        "ray.init": succeeds([*python, INIT.format(address="ray-head:6379")], env),
        "ray://": succeeds([*python, INIT.format(address="ray://ray-head:10001")], env),
        "node join": joins(env),
    }
    for way, accepted in outcome.items():
        print(f"{way}: {'accepted' if accepted else 'refused'}")


main()
