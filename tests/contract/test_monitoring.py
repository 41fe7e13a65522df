"""What Prometheus and Grafana are given: it is well formed, and asks for metrics that exist.

That the queries give data, on a real cluster: `tests/containers/test_monitoring.py`.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "cluster" / "monitoring"
PROMETHEUS = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
DATASOURCES = yaml.safe_load(
    (FOLDER / "grafana/provisioning/datasources/prometheus.yml").read_text()
)["datasources"]
PROVIDERS = yaml.safe_load((FOLDER / "grafana/provisioning/dashboards/empo_rllib.yml").read_text())[
    "providers"
]
DASHBOARD = json.loads((FOLDER / "grafana/dashboards/empo_rllib.json").read_text())
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]

PANELS = DASHBOARD["panels"]
CHARTS = [panel for panel in PANELS if panel["type"] != "row"]
TARGETS = [target for panel in CHARTS for target in panel["targets"]]
# Written by Ray's scheduler, in C++: no list of the package has it.
SCHEDULER_METRICS = {"resources"}


def metrics(expression: str) -> set[str]:
    """The metrics that a query names, without Ray's prefix."""
    return set(re.findall(r"\bray_(\w+)", expression))


def mount(service: str, target: str) -> str:
    """What of the repository, or which volume, a service finds at `target`."""
    volumes = [volume.split(":") for volume in SERVICES[service]["volumes"]]
    return next(source for source, where, *_ in volumes if where == target)


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    assert DASHBOARD["uid"] == "empo_rllib"
    assert DASHBOARD["schemaVersion"] >= 39
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    titles = [panel["title"] for panel in PANELS]
    assert len(set(titles)) == len(titles)


def test_panels_lie_on_the_grid_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        columns, rows = range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
        cells = set(itertools.product(columns, rows))
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len(taken) == 24 * (max(row for _, row in taken) + 1), "the grid has a hole"


def test_every_query_asks_the_provisioned_prometheus() -> None:
    variables = DASHBOARD["templating"]["list"]
    uids = {asker["datasource"]["uid"] for asker in (*CHARTS, *TARGETS, *variables)}
    assert uids == {source["uid"] for source in DATASOURCES}


@pytest.mark.parametrize("panel", CHARTS, ids=lambda panel: panel["title"])
def test_every_panel_has_queries_with_a_legend(panel: dict) -> None:
    references = [target["refId"] for target in panel["targets"]]
    assert references
    assert len(set(references)) == len(references)
    for target in panel["targets"]:
        assert metrics(target["expr"])
        grouped = set(re.findall(r"by \(([^)]*)\)", target["expr"]))
        shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        assert {name for group in grouped for name in group.split(", ")} == shown


def test_the_variables_choose_experiment_and_trial() -> None:
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == [
        "experiment",
        "trial",
    ]
    for target in TARGETS:
        if "ray_empo_" in target["expr"]:
            assert '{experiment=~"$experiment",trial=~"$trial"}' in target["expr"]


def test_all_metrics_of_training_are_shown() -> None:
    source = (ROOT / "empo_rllib/experiment/prometheus.py").read_text()
    emitted = set(re.findall(r'"(empo_\w+)"', source))
    shown = {name for target in TARGETS for name in metrics(target["expr"])}
    shown = {name.removesuffix("_total") for name in shown if name.startswith("empo_")}
    assert shown == emitted
    assert len(emitted) >= 9


def test_the_other_metrics_are_those_of_the_installed_ray() -> None:
    from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

    asked = {name for target in TARGETS for name in metrics(target["expr"])}
    asked = {name for name in asked if not name.startswith("empo_")}
    assert asked <= METRICS_GAUGES.keys() | SCHEDULER_METRICS
    assert {"node_gpus_utilization", "node_gram_used", "node_mem_used"} <= asked


def test_prometheus_asks_the_head_with_the_token_that_compose_mounts() -> None:
    (scraped,) = PROMETHEUS["scrape_configs"]
    (discovery,) = scraped["http_sd_configs"]
    assert discovery["url"] == "http://ray-head:8265/api/prometheus/sd"
    assert "ray-head" in SERVICES
    token = SERVICES["ray-head"]["environment"]["RAY_AUTH_TOKEN_PATH"]
    assert discovery["authorization"] == {"type": "Bearer", "credentials_file": token}
    folder = str(Path(token).parent)
    assert mount("prometheus", folder) == mount("ray-head", folder)


def test_compose_mounts_what_the_services_are_told_to_read() -> None:
    command = SERVICES["prometheus"]["command"]
    assert "--config.file=/etc/prometheus/prometheus.yml" in command
    assert mount("prometheus", "/etc/prometheus") == "./cluster/monitoring"
    assert (
        mount("grafana", "/etc/grafana/provisioning") == "./cluster/monitoring/grafana/provisioning"
    )
    (provider,) = PROVIDERS
    assert (
        mount("grafana", provider["options"]["path"]) == "./cluster/monitoring/grafana/dashboards"
    )
    (source,) = DATASOURCES
    assert source["url"] == "http://prometheus:9090"


@pytest.mark.parametrize("service", ["prometheus", "grafana"])
def test_the_services_are_pinned_hardened_and_on_loopback_only(service: str) -> None:
    asked = SERVICES[service]
    assert asked["profiles"] == ["monitoring"]
    assert re.fullmatch(r".+:v?\d+\.\d+\.\d+", asked["image"])
    assert asked["read_only"]
    assert asked["cap_drop"] == ["ALL"]
    assert asked["security_opt"] == ["no-new-privileges:true"]
    assert asked["user"] == SERVICES["ray-head"]["user"]
    assert all(port.startswith("127.0.0.1:") for port in asked["ports"])


def test_nobody_logs_in_to_grafana() -> None:
    environment = SERVICES["grafana"]["environment"]
    assert not [name for name in environment if "PASSWORD" in name or "SECRET" in name]
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"
    assert environment["GF_AUTH_BASIC_ENABLED"] == "false"
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
