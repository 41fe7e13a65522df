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

    assert (code, err) == (0, "Playing 2 episodes with 1 trial\n")
    assert "MultiGrid-Empty-5x5-v0: 2 episodes, sampled actions, seed 0" in out
    for row in ("return", "agent_0", "agent_1", "episode length", "success rate"):
        assert row in out
    assert "policy agent_0" not in out  # the same numbers as the agent's


def test_greedy_evaluation_that_fails_points_to_sampling(command, run_folder):
    assert (
        "Compare with --sampled" in command("evaluate", run_folder, "--episodes", 1, "--greedy")[1]
    )
    assert "Compare" not in command("evaluate", run_folder, "--episodes", 1)[1]


def test_json_is_all_that_is_printed_to_stdout(command, run_folder):
    code, out, err = command("evaluate", run_folder, "--episodes", 2, "--sampled", "--json")

    assert (code, err) == (0, "Playing 2 episodes with 1 trial\n")
    assert json.loads(out)["protocol"]["greedy"] is False


def test_many_runs_get_a_row_each(command, run_folder, tmp_path):
    other = shutil.copytree(run_folder, tmp_path / "other")

    code, out, err = command("evaluate", run_folder, other, "--episodes", 2)

    assert (code, err) == (0, "Playing 2 episodes with 2 trials\n")
    rows = [line.split()[0] for line in out.splitlines() if line.strip()]
    assert [row for row in rows if row in ("small", "other", "optimum")] == [
        "small",
        "other",
        "optimum",
    ]


def test_out_holds_what_json_prints(command, run_folder, tmp_path):
    file = tmp_path / "evaluation.json"
    arguments = ("evaluate", run_folder, "--episodes", 2, "--out", file)

    _, table, _ = command(*arguments)
    text = file.read_text()

    assert "episode length" in table
    assert command(*arguments, "--json")[1] == text
    written = json.loads(text)
    assert len(written["episodes"]) == 2
    assert written["protocol"]["package_version"]
    assert list(tmp_path.iterdir()) == [file]


def test_set_plays_in_another_environment(command, run_folder):
    code, out, _ = command("evaluate", run_folder, "--episodes", 1, "--set", "env.kwargs.size=16")
    assert code == 0
    assert "seed 0, env.kwargs.size=16" in out


def test_the_random_policy_and_the_optimum_are_lines_of_the_table(command, run_folder):
    _, out, _ = command("evaluate", run_folder, "--episodes", 1)
    assert "  random policy  " in out
    assert "  optimum        0.775" in out
    _, out, _ = command("evaluate", run_folder, "--episodes", 1, "--no-references")
    assert "optimum" not in out


def test_the_optimum_is_unknown_where_no_search_finds_it(command, run_folder):
    _, out, _ = command(
        "evaluate", run_folder, "--episodes", 1, "--set", "env.id=MultiGrid-RedBlueDoors-6x6-v0"
    )
    assert "  optimum        unknown" in out


def test_crossplay_prints_a_matrix_and_writes_json_and_a_heat_map(command, run_folder, tmp_path):
    other = shutil.copytree(run_folder, tmp_path / "other")
    files = tmp_path / "cross.json", tmp_path / "cross.png"

    code, out, err = command(
        *("crossplay", run_folder, other, "--episodes", 2, "--sampled"),
        *("--out", files[0], "--figure", files[1]),
    )

    assert code == 0
    assert err.startswith("Loading the policies of 2 trials\n")
    assert "rows act for agent_0, columns for agent_1" in out
    assert "self-play" in out
    assert json.loads(files[0].read_text())["protocol"]["greedy"] is False
    assert files[1].read_bytes().startswith(b"\x89PNG")
    code, out, _ = command("crossplay", run_folder, other, "--episodes", 2, "--sampled", "--json")
    assert json.loads(out) == json.loads(files[0].read_text())


def test_record_writes_the_film_and_says_so(command, run_folder, tmp_path):
    out_file = tmp_path / "film.gif"

    code, out, err = command("record", run_folder, "--out", out_file, "--episodes", 1)

    assert code == 0
    assert err.startswith("Recording 1 episode\n")
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
    assert err.count("error: ") == 1
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
        (["evaluate"], "RUN"),
        (["evaluate", "{run}", "{tmp}/nowhere"], "no such folder"),
        (["evaluate", "{run}", "--out", "{tmp}/no/file.json"], "there is no folder"),
        (["evaluate", "{run}", "--out", "{tmp}/file.csv"], "--out {tmp}/file.csv: the file's name"),
        (["evaluate", "{run}", "--out", "{tmp}"], "must end in .json"),
        (["evaluate", "{run}", "--set", "lr=1"], "only keys of env can be set"),
        (["evaluate", "{run}", "--set", "env.kwargs.sise=9"], "Did you mean 'size'?"),
        (["evaluate", "{run}", "--set", "env.num_agents=3"], "Choose fewer agents"),
        (["crossplay", "{run}"], "crossplay takes at least two runs"),
        (["crossplay", "{run}", "{tmp}"], "not a run folder"),
        (["crossplay", "{run}", "{run}", "--episodes", "0"], "episodes = 0"),
        (["crossplay", "{run}", "{run}", "--figure", "{tmp}/x.pdf"], "must end in .png or .svg"),
        (["crossplay", "{run}", "{run}", "--set", "env.num_agents=1"], "at least two agents"),
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
    assert message.format(tmp=tmp_path) in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())
