"""Section: what was trained, on what, by which code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from empo_rllib import columns
from empo_rllib.results.report.numbers import plural, setting
from empo_rllib.results.report.parts import Cell, Code, Paragraph, Part, ReportSection, Table
from empo_rllib.results.report.runs import ReportedRun, Session
from empo_rllib.results.report.settings import (
    Sample,
    differing_keys,
    in_order,
    samples_of,
    value_of,
)

_MAX_VALUES = 6


def build_setup(runs: Sequence[ReportedRun]) -> ReportSection:
    """Returns a column per run, and each run's whole experiment file."""
    described = [_describe(run) for run in runs]
    keys = list(dict.fromkeys(key for description in described for key in description))
    rows = [[Cell(key), *(Cell(d.get(key, "–")) for d in described)] for key in keys]
    columns = ["", *(run.label for run in runs)]
    parts: list[Part] = [Table("What was trained, and on what", columns, rows, sortable=False)]
    if len(runs) > 1:
        parts.append(_differences(runs))
    for run in runs:
        title = f"{run.label}: resolved_config.yaml, every default filled in"
        parts.append(Code(title, run.config_text, folded=True))
    return ReportSection("setup", "Setup", parts)


def _differences(runs: Sequence[ReportedRun]) -> Part:
    """Returns a row per setting that differs; trials of a run may have several values."""
    samples = samples_of(runs)[1]
    rows = []
    for key in differing_keys(samples):
        values = [_values(key, [s for s in samples if s.run is run]) for run in runs]
        if len(set(values)) > 1:
            rows.append([Cell(key), *map(Cell, values)])
    if not rows:
        return Paragraph("The settings of the runs are the same, apart from names and seeds.")
    columns = ["setting", *(run.label for run in runs)]
    return Table("Settings that differ between the runs, defaults filled in", columns, rows)


def _values(key: str, samples: Sequence[Sample]) -> str:
    texts = list(dict.fromkeys(setting(value_of(s, key)).text for s in in_order(key, samples)))
    if len(texts) > _MAX_VALUES:
        return f"{plural(len(texts), 'value')}, {texts[0]} to {texts[-1]}"
    return ", ".join(texts)


def policies_of(run: ReportedRun) -> list[str]:
    """Returns the names of a run's policies, as its curves have them."""
    rows = (row for trial in run.trials for row in trial.rows)
    found = dict.fromkeys(
        key for row in rows for key in row if key.startswith(columns.POLICY_RETURN_MEAN)
    )
    return [key.removeprefix(columns.POLICY_RETURN_MEAN) for key in found]


def _describe(run: ReportedRun) -> dict[str, str]:
    config, algorithm = run.config, run.config.algorithm
    agents = config.env.num_agents
    policies = policies_of(run)
    mapping = config.policies if isinstance(config.policies, str) else "as the file maps them"
    seeds = sorted({trial.summary.seed for trial in run.trials})
    description = {
        "environment": config.env.id,
        "its arguments": _flat(config.env.kwargs),
        "agents": "the environment's own number" if agents is None else str(agents),
        "policies": f"{mapping}: {', '.join(policies)}" if policies else mapping,
        "algorithm": ", ".join(algorithm.names),
        "parameters": _flat(algorithm.params),
        "model": _flat(config.model.model_dump(by_alias=True, warnings=False, exclude_none=True)),
        "sampler": f"{run.result.sampler} ({run.result.sampler_reason})",
        "stops at": _flat(config.stop.model_dump(exclude_none=True)),
        "trials": f"{plural(len(run.trials), 'trial')}, seeds {', '.join(map(str, seeds))}",
    }
    return description | (_describe_session(run.sessions[-1]) if run.sessions else {})


def _describe_session(session: Session) -> dict[str, str]:
    resources = session.hardware.cluster_resources or {}
    hardware = [session.hardware.host]
    hardware += [f"{resources[kind]:g} {kind}" for kind in ("CPU", "GPU") if kind in resources]
    hardware.append(plural(session.hardware.cluster_nodes or 1, "node"))
    commit = session.code.get("commit") or session.code.get("image_revision") or "unknown"
    changes = " with uncommitted changes" if session.code.get("uncommitted_changes") else ""
    packages = {name: version for name, version in session.packages.items() if version}
    return {
        "hardware": ", ".join(hardware),
        "system": session.hardware.platform,
        "code": f"commit {commit}{changes}",
        "versions": ", ".join(
            [f"python {session.python}", *(f"{name} {v}" for name, v in packages.items())]
        ),
        "last started": session.started,
    }


def _flat(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_value(value)}" for key, value in values.items()) or "defaults"


def _value(value: Any) -> str:
    if isinstance(value, Mapping) and len(value) == 1:
        ((kind, options),) = value.items()
        return f"{kind} of {_value(options)}" if isinstance(options, list) else str(value)
    if isinstance(value, list):
        return f"[{', '.join(_value(option) for option in value)}]"
    return setting(value).text
