"""The commands, in this process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts


@pytest.fixture
def damaged(run_folder, tmp_path):
    """A copy of a run, to be damaged."""
    return shutil.copytree(run_folder, tmp_path / "run")


def test_help_imports_nothing_heavy():
    code = """
import sys
from empo_rllib import cli
assert not {"ray", "torch", "numpy", "pydantic", "PIL", "rich.table"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_evaluate_prints_a_table(command, run_folder):
    code, out, err = command("evaluate", run_folder, "--episodes", 2)

    assert (code, err) == (0, "")
    assert "MultiGrid-Empty-5x5-v0: 2 episodes, greedy actions, seed 0" in out
    for row in ("return", "agent_0", "agent_1", "episode length", "success rate"):
        assert row in out
    assert "policy agent_0" not in out  # the same numbers as the agent's


def test_greedy_evaluation_that_fails_points_to_sampling(command, run_folder):
    assert "Compare with --sampled" in command("evaluate", run_folder, "--episodes", 1)[1]
    assert "Compare" not in command("evaluate", run_folder, "--episodes", 1, "--sampled")[1]


def test_json_is_all_that_is_printed(command, run_folder):
    code, out, err = command("evaluate", run_folder, "--episodes", 2, "--sampled", "--json")

    assert (code, err) == (0, "")
    assert json.loads(out)["protocol"]["greedy"] is False


def test_record_writes_the_film_and_says_so(command, run_folder, tmp_path):
    out_file = tmp_path / "film.gif"

    code, out, err = command("record", run_folder, "--out", out_file, "--episodes", 1)

    assert (code, err) == (0, "")
    assert out.startswith(f"{out_file}: 1 episode, ")
    assert out_file.is_file()


def _remove(path):
    def damage(run):
        next(run.glob(path)).unlink()

    return damage


def _overwrite(path, content):
    def damage(run):
        next(run.glob(path)).write_bytes(content)

    return damage


def _cut(path):
    def damage(run):
        file = next(run.glob(path))
        file.write_bytes(file.read_bytes()[:-100])

    return damage


WEIGHTS = "trial_00000/*/policies/agent_1.safetensors"
STATE = "trial_00000/*/state.json"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_remove(WEIGHTS), "no policy 'agent_1'; it holds agent_0"),
        (_cut(WEIGHTS), "damaged weights"),
        (_overwrite(WEIGHTS, b""), "damaged weights"),
        (_overwrite(WEIGHTS, b"not weights at all"), "damaged weights"),
        (_remove(STATE), "no checkpoint yet"),
        (_overwrite(STATE, b"{"), "damaged state.json"),
        (_overwrite(STATE, b"[]"), "damaged state.json"),
        (_overwrite(STATE, b"\xff\xfe"), "damaged state.json"),
        (_overwrite(STATE, b'{"format": 99, "counters": {}}'), "format 99"),
        (_remove("summary.json"), "not a run folder"),
        (_overwrite("summary.json", b"{}"), "damaged"),
        (_remove("resolved_config.yaml"), "resolved_config.yaml"),
        (_overwrite("resolved_config.yaml", b"- a list"), "resolved_config.yaml"),
    ],
)
def test_a_damaged_run_is_one_message_and_exit_code_2(command, damaged, damage, message):
    damage(damaged)

    code, out, err = command("evaluate", damaged, "--episodes", 1)

    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "{tmp}/nowhere"], "no such folder"),
        (["evaluate", "{tmp}"], "not a run folder"),
        (["evaluate", "{run}/summary.json"], "no such folder"),
        (["evaluate", "{run}/trial_00001"], "no such folder"),
        (["evaluate", "{run}/trial_00000/checkpoint_000001/policies"], "not a run folder"),
        (["evaluate", "{run}", "--episodes", "0"], "episodes = 0 must be at least 1"),
        (["evaluate", "{run}", "--seed", "-1"], "seed = -1"),
        (["evaluate", "{run}", "--episodes", "many"], "--episodes"),
        (["record", "{run}"], "--out"),
        (["record", "{run}", "--out", "{tmp}/film.avi"], "must end in .gif or .mp4"),
        (["record", "{run}", "--out", "{tmp}/no/film.gif"], "there is no folder"),
        (["record", "{run}", "--out", "{tmp}/film.gif", "--fps", "0"], "--fps 0"),
        (["record", "{run}", "--out", "{tmp}/film.gif", "--episodes", "-1"], "episodes = -1"),
        (["record", "{tmp}", "--out", "{tmp}/film.gif"], "not a run folder"),
    ],
)
def test_a_users_mistake_is_one_message_and_exit_code_2(
    command, run_folder, tmp_path, arguments, message
):
    code, out, err = command(*(a.format(run=run_folder, tmp=tmp_path) for a in arguments))

    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())
