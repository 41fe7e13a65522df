"""`tune_configs/smoke.yaml` from the command to the last file."""

from __future__ import annotations

import json
import math
import platform
import re

import pytest
import yaml
from commands import CONFIGS, TUNE, Outcome, Run, Workplace

pytestmark = pytest.mark.core

SUMMARY_KEYS = {
    "status",
    "sampler",
    "sampler_reason",
    "networks",
    "metric",
    "mode",
    "objectives",
    "array",
    "pareto_front",
    "best_trial",
    "trials",
    "groups",
}
TRIAL_KEYS = {
    "trial_id",
    "params",
    "seed",
    "status",
    "stop_reason",
    "env_steps",
    "agent_steps",
    "env_runner_hosts",
    "episodes",
    "time_s",
    "env_steps_per_s",
    "episode_return_mean",
    "metric",
    "is_settled",
    "scores",
    "array_task",
    "schedule",
    "checkpoint",
    "best_checkpoint",
    "best_score",
    "error",
}
GROUP_KEYS = {"params", "trials", "n", "mean", "interquartile_mean", "interval_95"}
STDOUT = r"""
status       finished
best trial   trial_00000 \(env_steps \d,\d{3} >= 3,000\)
best return  \d\.\d{4}
trained      \d,\d{3} env steps in \d+s \([\d,]+ env steps/s\)
results      results/smoke

next
  python -m empo_rllib evaluate results/smoke
  python -m empo_rllib record results/smoke --out episode.gif
  tensorboard --logdir results/smoke
"""
STDERR = (
    r"smoke: PPO on MultiGrid-Empty-5x5-v0, 1 trial, results in results/smoke",
    r"sampler: \w+ \(.*\)",
    r"networks: compiled kernels",
    r"learner: .* \(num_gpus_per_learner: auto\)",
    r"Ray dashboard: http://127\.0\.0\.1:\d+ \(token: .*\)",
    r"building the first trials: .* \(\w+\)",  # on a slow machine
    r"trial_00000  env steps [\d,]+ of 3,000  [\d,]+/s  return .*",
)


@pytest.fixture(scope="module")
def run(smoke: Outcome, smoke_place: Workplace) -> Run:
    return smoke_place.run("smoke")


def test_stdout_is_the_outcome_and_what_to_type_next(smoke):
    assert re.fullmatch(STDOUT, smoke.stdout), smoke.stdout


def test_stderr_has_no_line_of_ray_or_of_anything_else(smoke):
    lines = smoke.stderr.splitlines()
    strange = [line for line in lines if not any(re.fullmatch(known, line) for known in STDERR)]
    assert not strange


def test_no_process_and_no_cluster_folder_stays(smoke, smoke_place):
    assert not smoke_place.wait_for_quiet()
    assert not smoke_place.cluster_folders()


def test_the_run_folder_holds_what_the_contract_says(run):
    names = {path.name for path in run.folder.iterdir()} - {".lock"}
    assert names == {"resolved_config.yaml", "provenance.json", "summary.json", "trial_00000"}
    inside = {path.name.split(".out.")[0] for path in run.trial().folder.iterdir()}
    assert inside == {"progress.csv", "events", "checkpoint_000002", "checkpoint_000003"}


def test_the_resolved_config_holds_every_default_and_loads_back(run):
    resolved = yaml.safe_load((run.folder / "resolved_config.yaml").read_text())
    assert resolved["checkpoint"] == {"frequency": 1, "num_to_keep": 2, "grace_s": 60.0}
    assert resolved["tune"]["max_failures"] == 2


def test_the_summary_has_the_keys_of_the_contract(run):
    summary = run.summary
    assert set(summary) == SUMMARY_KEYS
    assert [set(trial) for trial in summary["trials"]] == [TRIAL_KEYS]
    assert [set(group) for group in summary["groups"]] == [GROUP_KEYS]


def test_the_summary_tells_the_last_row(run):
    summary, last = run.summary, run.trial().rows()[-1]
    (trial,) = summary["trials"]
    assert (summary["status"], summary["best_trial"]) == ("finished", "trial_00000")
    assert (trial["status"], trial["seed"], trial["params"]) == ("finished", 0, {})
    assert trial["checkpoint"] == "trial_00000/checkpoint_000003"
    assert trial["env_runner_hosts"] == [platform.node()]
    for key in ("env_steps", "agent_steps", "episodes", "time_s", "episode_return_mean"):
        assert trial[key] == float(last[key])
    assert trial["env_steps_per_s"] == pytest.approx(trial["env_steps"] / trial["time_s"])
    assert trial["metric"] == trial["episode_return_mean"]


def test_every_row_of_progress_has_the_same_columns(run):
    lines = (run.trial().folder / "progress.csv").read_text().splitlines()
    assert len(lines) == 1 + 3
    assert len({line.count(",") for line in lines}) == 1
    columns = lines[0].split(",")
    for policy in ("agent_0", "agent_1"):
        assert f"policy_return_mean/{policy}" in columns
        assert f"agent_return_mean/{policy}" in columns
        for name in ("total_loss", "policy_loss", "value_loss", "entropy", "kl"):
            assert f"learner/{policy}/{name}" in columns
    assert {"success_rate", "episode_length_mean", "env_steps_per_s"} < set(columns)


def test_rows_count_steps_of_envs_and_of_agents(run):
    rows = run.trial().rows()
    assert [int(row["training_iteration"]) for row in rows] == [1, 2, 3]
    for row in rows:
        assert int(row["agent_steps"]) == 2 * int(row["env_steps"])
    assert int(rows[-2]["env_steps"]) < 3000 <= int(rows[-1]["env_steps"])


def test_tensorboard_tells_what_progress_tells(run):
    scalars, rows = run.trial().scalars(), run.trial().rows()
    assert set(scalars) == set(rows[0]) - {"timestamp", "training_iteration"}
    for tag, points in scalars.items():
        assert [step for step, _ in points] == [int(row["env_steps"]) for row in rows]
        for (_, value), row in zip(points, rows, strict=True):
            assert math.isclose(value, float(row[tag]), rel_tol=1e-6, abs_tol=1e-12)


def test_provenance_names_versions_code_hardware_and_command(run):
    (session,) = json.loads((run.folder / "provenance.json").read_text())["sessions"]
    assert session["packages"]["ray"].startswith("2.60.")
    assert session["command"].endswith(f"-m {TUNE[2]} --config {CONFIGS / 'smoke.yaml'}")
    assert session["hardware"]["cluster_resources"]["CPU"] >= 1
    assert session["code"]["folder"]


def test_a_checkpoint_holds_counters_and_weights_of_each_policy(run):
    trial = run.trial()
    names = {path.name for path in (trial.checkpoints()[-1] / "policies").iterdir()}
    assert names == {"agent_0.safetensors", "agent_1.safetensors"}
    assert trial.counters()["env_steps"] == trial.column("env_steps")[-1]
