"""A real Prometheus beside the cluster: it finds the nodes with the token; the dashboard has data.

No image can be pulled here: Debian's Prometheus, put into the project's image, takes the name of
the one that compose asks for. There is no Grafana; its dashboard's queries are asked here instead.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from clone import HOST_USER, Clone
from engine import Engine
from repository import ROOT, wait_until

pytestmark = pytest.mark.usefixtures("dev_image")  # which is made meanwhile

MONITORING = ROOT / "cluster" / "monitoring"
DASHBOARD = json.loads((MONITORING / "grafana/dashboards/empo_rllib.json").read_text())
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", [])
}
VARIABLES = {
    variable["name"]: variable["query"]["query"] for variable in DASHBOARD["templating"]["list"]
}
NEEDS_A_GPU = {"GPU load A", "GPU memory A"}
# Trains until it is stopped.
ENDLESS = ("--config", "tune_configs/smoke.yaml", "--set", "stop.env_steps=100000000")
STAND_IN = """
FROM empo_rllib:latest
COPY prometheus /bin/prometheus
ENTRYPOINT ["/bin/prometheus"]
"""
OTHER_PORT = 9099


@pytest.fixture(scope="module")
def programs(testbed: Path) -> Path:
    """The folder of `prometheus` and `promtool`."""
    return testbed / "prometheus" / "bin"


@pytest.fixture(scope="module")
def prometheus(cluster: Clone, programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The cluster with compose's Prometheus, as the profile `monitoring` starts it."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    context = tmp_path_factory.mktemp("prometheus")
    shutil.copy(programs / "prometheus", context)
    (context / "Dockerfile").write_text(STAND_IN)
    cluster.engine.docker("build", "--tag", services["prometheus"]["image"], context)
    cluster.compose("up", "--wait", "--no-build", "ray-head", "ray-worker", "prometheus")
    ready = ["curl", "--silent", "--fail", "http://127.0.0.1:9090/-/ready"]
    wait_until(lambda: cluster.engine.on_host(ready, check=False).returncode == 0, "Prometheus")
    return cluster


@pytest.fixture(scope="module")
def training(prometheus: Clone) -> Iterator[str]:
    """The name of an experiment that trains on the cluster meanwhile."""
    name = "monitored"
    submit = ("python", "-m", "empo_rllib", "submit", "--set", f"name={name}", *ENDLESS)
    job = prometheus.in_head(*submit).stdout.strip().splitlines()[-1]
    wait_until(lambda: len(prometheus.rows(name)) > 1, f"iterations of {name}")
    yield name
    prometheus.in_head("python", "-m", "empo_rllib", "stop", job)


def ask(engine: Engine, path: str, port: int = 9090, **parameters: str) -> object:
    """Asks the API of a Prometheus from the host; a query that does not parse fails."""
    url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    answer = json.loads(engine.on_host(["curl", "--silent", "--globoff", url]).stdout)
    assert answer["status"] == "success", answer
    return answer["data"]


def series(engine: Engine, query: str) -> list[dict]:
    query = query.replace("$experiment", "monitored").replace("$trial", ".+")
    return ask(engine, "query", query=query)["result"]


def test_prometheus_runs_hardened_and_finds_every_node(prometheus: Clone) -> None:
    engine = prometheus.engine
    process = engine.main_process(prometheus.container("prometheus"))
    status = Path(f"/proc/{process}/status").read_text()
    assert re.search(rf"^Uid:\s+{HOST_USER}\b", status, re.MULTILINE)
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    wait_until(lambda: series(engine, "count(ray_node_cpu_count) == 2") != [], "both nodes")

    def health() -> set[str]:
        return {target["health"] for target in ask(engine, "targets")["activeTargets"]}

    wait_until(lambda: health() == {"up"}, "every target to be scraped")


@pytest.mark.parametrize("panel", sorted(QUERIES.keys() - NEEDS_A_GPU))
def test_a_panel_of_the_dashboard_has_data(prometheus: Clone, training: str, panel: str) -> None:
    """Ray's processes report every ten seconds, so a panel has none at first."""
    wait_until(lambda: series(prometheus.engine, QUERIES[panel]) != [], f"data of {panel}")


@pytest.mark.parametrize("panel", sorted(NEEDS_A_GPU))
def test_a_panel_about_gpus_asks_well_and_is_empty_without_one(
    prometheus: Clone, panel: str
) -> None:
    assert series(prometheus.engine, QUERIES[panel]) == []


def test_the_variables_offer_the_experiment_and_its_trial(prometheus: Clone, training: str) -> None:
    offered = {}
    for name, query in VARIABLES.items():
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
        assert match is not None
        selector = match[1].replace("$experiment", training)
        parameters = {"match[]": selector}
        wait_until(
            lambda label=match[2], asked=parameters: (
                ask(prometheus.engine, f"label/{label}/values", **asked) != []
            ),
            f"values of {name}",
        )
        offered[name] = ask(prometheus.engine, f"label/{match[2]}/values", **parameters)
    assert training in offered["experiment"]
    assert offered["trial"] == ["trial_00000"]


def test_the_env_steps_are_those_of_the_run(prometheus: Clone, training: str) -> None:
    wait_until(lambda: series(prometheus.engine, QUERIES["Env steps A"]) != [], "env steps")
    (found,) = series(prometheus.engine, QUERIES["Env steps A"])
    assert float(found["value"][1]) in prometheus.column(training, "env_steps")


@pytest.mark.parametrize(
    ("token", "outcome"),
    [("none", "401 Unauthorized"), ("wrong", "403 Forbidden"), ("right", "")],
)
def test_without_the_token_no_node_is_found(
    cluster: Clone, programs: Path, tmp_path: Path, token: str, outcome: str
) -> None:
    """`right` shows that the others fail for want of the token only."""
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    discovery = config["scrape_configs"][0]["http_sd_configs"][0]
    discovery["url"] = discovery["url"].replace("ray-head", "127.0.0.1")
    tokens = {"wrong": "0" * 64, "right": cluster.in_head("cat", "/run/empo_rllib/token").stdout}
    if token == "none":
        del discovery["authorization"]
    else:
        discovery["authorization"]["credentials_file"] = str(tmp_path / "token")
        (tmp_path / "token").write_text(tokens[token])
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))

    def found() -> list:
        return ask(cluster.engine, "targets", OTHER_PORT)["activeTargets"]

    with running(cluster.engine, programs, tmp_path) as log:
        if outcome:
            wait_until(lambda: outcome in log.read_text(), f"{outcome} of {token} token")
            assert found() == []
        else:
            wait_until(lambda: found() != [], "nodes")


@contextlib.contextmanager
def running(engine: Engine, programs: Path, folder: Path) -> Iterator[Path]:
    """Prometheus on the host, with the configuration in `folder`; its log."""
    command = [str(programs / "prometheus"), f"--config.file={folder / 'prometheus.yml'}"]
    command += [
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{OTHER_PORT}",
    ]
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            engine.host_command(command), env=engine.env, stdout=output, stderr=output
        )
    try:
        wait_until(lambda: "Server is ready" in log.read_text(), "Prometheus")
        yield log
    finally:
        process.terminate()
        process.wait(180)
