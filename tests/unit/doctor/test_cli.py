"""`python -m empo_rllib doctor`, in this process."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from empo_rllib import cli
from empo_rllib.doctor import examine as examine_module
from empo_rllib.doctor.experiment import experiment_of
from empo_rllib.doctor.kinds import KINDS, level_of
from empo_rllib.doctor.limits import Limits
from empo_rllib.doctor.table import render_report
from empo_rllib.errors import ConfigError, EnvError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs `python -m empo_rllib doctor ...` at small size: exit code, stdout, stderr."""
    quick = functools.partial(Limits, episodes=3, env_steps=300, repeat_steps=10)
    monkeypatch.setattr(examine_module, "Limits", quick)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["empo_rllib", "doctor", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        output = capsys.readouterr()
        return exit_.value.code, output.out, output.err

    return run


def test_a_sound_environment_is_summed_up_with_exit_code_0(command):
    code, out, err = command("MultiGrid-Empty-5x5-v0", "--num-agents", 2)

    assert (code, err) == (0, "")
    for words in (
        "agents     agent_0, agent_1",
        "{direction: Discrete(4), image: Box uint8 (7, 7, 3) 0..10}",
        "Discrete(7)",
        "batched (MultiGrid with known step rules)",
        "episode length",
        "env step",
        "inside a step",
        "0 errors",
    ):
        assert words in out


def test_an_error_is_printed_with_its_line_and_exit_code_1(command):
    code, out, err = command("broken_envs:StepRaises")

    assert (code, err) == (1, "")
    for words in ("error  step-raises", "no such door", "broken_envs.py:", "1 error, "):
        assert words in out
    assert "Traceback" not in out


def test_a_warning_alone_is_exit_code_0(command):
    code, out, _ = command("broken_envs:Float64")
    assert code == 0
    assert "warning  observation-wrong-dtype" in out


def test_json_is_all_that_is_printed(command):
    code, out, err = command("broken_envs:Talks", "--json")

    assert (code, err) == (0, "")
    report = json.loads(out)
    assert [finding["name"] for finding in report["findings"]] == ["prints"]
    assert report["sampler"] == "python"
    assert report["random_policy"]["episode_length"]["n"] == 3
    assert report["times"]["env_step_us"] > 0
    assert all(set(s) == {"key", "value", "reason", "option"} for s in report["suggestions"])


def test_json_is_valid_where_rewards_are_not_numbers(command):
    for name in ("PaysNaN", "PaysLists", "TextSpace"):
        out = command(f"broken_envs:{name}", "--json")[1]
        json.loads(out, parse_constant=lambda word: pytest.fail(word))


def test_set_reaches_the_environment(command):
    _, out, _ = command("MultiGrid-Empty-5x5-v0", "--set", "env.kwargs.agent_view_size=3")
    assert "(3, 3, 3)" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "doctor takes an environment, or --config"),
        (["CartPole-v1", "--config", ROOT / "tune_configs/ppo.yaml"], "doctor takes an env"),
        (["CartPole-v9"], "Did you mean 'CartPole-v1'?"),
        (["CartPole-v1", "--num-agents", 3], "env.num_agents = 3"),
        (["CartPole-v1", "--num-agents", 0], "--num-agents"),
        (["MultiGrid-Empty-5x5-v0", "--set", "env.kwargs.sise=9"], "Did you mean 'size'?"),
        (["MultiGrid-Empty-5x5-v0", "--set", "size=9"], "size = 9 is an unknown key"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: there is no such file"),
        (["broken_envs:Missing"], "broken_envs.Missing does not exist"),
        (["broken_envs:AGENTS"], "is not a function or class"),
    ],
)
def test_a_users_mistake_is_one_message_and_exit_code_2(command, arguments, message):
    code, out, err = command(*arguments)

    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("body", "call_s", "words"),
    [
        ("time.sleep(600)", 0.2, "was not made within 0.2 s"),
        ("sys.exit('no licence')", 60, "could not be made: SystemExit: no licence"),
    ],
)
def test_an_environment_that_is_not_made_is_refused(tmp_path, monkeypatch, body, call_s, words):
    source = f"import sys, time\nimport pettingzoo\n\ndef make():\n    {body}\n"
    (tmp_path / "late_envs.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "late_envs", raising=False)
    experiment = experiment_of("late_envs:make", None, None, [])
    with pytest.raises(EnvError) as caught:
        examine_module.examine(experiment, Limits(call_s=call_s))
    assert words in str(caught.value)


class TestExperiment:
    def test_a_file_gives_its_environment_and_settings(self):
        config = experiment_of(None, ROOT / "tune_configs/pettingzoo.yaml", None, [])
        assert (config.env.id, config.env.kwargs) == ("sisl/pursuit-v5", {"max_cycles": 200})
        assert config.resources.num_envs_per_env_runner == 8

    def test_of_a_search_space_the_first_trial_counts(self):
        sizes = "env.kwargs.size={grid_search: [6, 9]}"
        config = experiment_of("MultiGrid-Empty-5x5-v0", None, None, [sizes])
        assert config.env.kwargs == {"size": 6}

    def test_num_agents_goes_before_the_file(self):
        config = experiment_of(None, ROOT / "tune_configs/ppo.yaml", 3, [])
        assert config.env.num_agents == 3

    def test_exactly_one_of_both_is_asked_for(self):
        with pytest.raises(ConfigError):
            experiment_of(None, None, None, [])


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(examine_quickly, width, capsys):
    for env_id in ("broken_envs:HalfADict", "MultiGrid-Empty-8x8-v0"):
        Console(width=width, highlight=False).print(render_report(examine_quickly(env_id)))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)


def test_it_needs_neither_ray_nor_torch():
    code = """
import sys
from empo_rllib.doctor.examine import examine
from empo_rllib.doctor.experiment import experiment_of
examine(experiment_of("CartPole-v1", None, None, []))
assert not {"ray", "torch", "multigrid", "numba"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_documents_list_of_findings_is_the_codes():
    text = (ROOT / "docs/doctor.md").read_text()
    table = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| (.*) \| (.*) \|$", text, re.MULTILINE)
    assert table == [(n, level_of(n), kind.rule, kind.cure) for n, kind in KINDS.items()]
