"""sbatch's options in all spellings, and which gives way to which."""

from __future__ import annotations

import shlex

import pytest

from empo_rllib.errors import ConfigError
from empo_rllib.service.sbatch_options import (
    Option,
    override,
    parse_option,
    parse_options,
    rivals_of,
    variables_of,
    without_rivals_of,
)


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("--time=5", Option("time", "5")),
        ("--time 5", Option("time", "5")),
        ("-t 5", Option("time", "5")),
        ("-t5", Option("time", "5")),
        ("-t=5", Option("time", "5")),
        (" --time=5 ", Option("time", "5")),
        ("--exclusive", Option("exclusive")),
        ("-H", Option("hold")),
        ("--constraint=a100&nvme", Option("constraint", "a100&nvme")),
        ("--export=ALL,A=1", Option("export", "ALL,A=1")),
        ("--comment=", Option("comment", "")),
        ("--nice=-5", Option("nice", "-5")),
        ("--of-a-newer-slurm=1", Option("of-a-newer-slurm", "1")),
    ],
)
def test_every_spelling_is_the_same_option(text, option):
    assert parse_option(text, "--sbatch") == option


@pytest.mark.parametrize("text", ["", "qos=high", "--", "-", "-9", "-Z 1", "--time=5\n#SBATCH -H"])
def test_what_is_no_option_is_refused_by_where_it_was_given(text):
    with pytest.raises(ConfigError, match=r"^--sbatch: '.*' is not an option for an sbatch job"):
        parse_option(text, "--sbatch")


def test_a_line_is_read_as_a_shell_does():
    line = "-p gpu,main --exclusive --comment='two words' -t5 --qos high -H # the site's"
    assert parse_options(line, "SITE") == [
        Option("partition", "gpu,main"),
        Option("exclusive"),
        Option("comment", "two words"),
        Option("time", "5"),
        Option("qos", "high"),
        Option("hold"),
    ]
    assert parse_options("", "SITE") == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-p gpu main", "SITE: 'main' is not an option"),
        ("--qos=high main", "SITE: 'main' is not an option"),
        ("gpu", "SITE: 'gpu' is not an option"),
        ("--comment='two words", "SITE: .* cannot be read: no closing quotation"),
    ],
)
def test_a_line_with_a_word_too_much_is_refused(line, message):
    with pytest.raises(ConfigError, match=message):
        parse_options(line, "SITE")


@pytest.mark.parametrize(
    "value", ["high", "two words", "it's", 'a "word"', "a#b", "node[1-4]", "50%", "$HOME", ""]
)
def test_a_value_is_read_back_as_it_was(value):
    assert parse_options(Option("comment", value).render(), "SITE") == [Option("comment", value)]


def test_a_backslash_is_doubled_for_sbatch_reads_it_in_any_quotes():
    assert Option("comment", r"a\b").render() == r"--comment='a\\b'"
    assert Option("hold").render() == "--hold"
    assert shlex.split(Option("qos", "high").render()) == ["--qos=high"]


def options(line: str) -> list[Option]:
    return parse_options(line, "test")


@pytest.mark.parametrize(
    ("before", "given", "after"),
    [
        ("--nodes=1 --signal=B:USR1@120", "-N 2", "--nodes=2 --signal=B:USR1@120"),
        ("--nodes=1", "--qos=high", "--nodes=1 --qos=high"),
        ("--nodes=1", "-N 2 -N 3", "--nodes=3"),
        ("--mem-per-cpu=2G --nodes=1", "--mem=8G", "--nodes=1 --mem=8G"),
        ("--mem=8G", "--mem-per-gpu=2G", "--mem-per-gpu=2G"),
        ("--cpus-per-task=4", "--cpus-per-gpu=8", "--cpus-per-gpu=8"),
        ("--requeue", "--no-requeue", "--no-requeue"),
        # Not for this code to settle: sbatch says that they exclude each other.
        ("--nodes=1", "--mem=8G --mem-per-cpu=2G", "--nodes=1 --mem=8G --mem-per-cpu=2G"),
        ("--gres=nvme:1", "--gpus-per-node=2", "--gres=nvme:1 --gpus-per-node=2"),
        ("--nodes=1", "", "--nodes=1"),
    ],
)
def test_what_is_given_replaces_itself_and_what_it_excludes(before, given, after):
    assert override(options(before), options(given)) == options(after)


@pytest.mark.parametrize(
    ("variables", "left"),
    [
        ({}, "--mem-per-cpu=2G --requeue --nodes=1"),
        ({"SBATCH_MEM_PER_NODE": "8G"}, "--requeue --nodes=1"),
        ({"SBATCH_NO_REQUEUE": ""}, "--mem-per-cpu=2G --nodes=1"),
        ({"SBATCH_MEM_PER_CPU": "3G"}, "--mem-per-cpu=2G --requeue --nodes=1"),  # sbatch takes 3G
    ],
)
def test_a_line_that_would_beat_a_variable_is_left_out(variables, left):
    given = options("--mem-per-cpu=2G --requeue --nodes=1")
    assert without_rivals_of(variables, given) == options(left)


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("gpus-per-node", ("SBATCH_GPUS_PER_NODE",)),
        ("qos", ("SBATCH_QOS",)),
        ("time", ("SBATCH_TIMELIMIT",)),
        ("mem", ("SBATCH_MEM_PER_NODE",)),
        ("mem-per-cpu", ("SBATCH_MEM_PER_CPU",)),
        ("clusters", ("SBATCH_CLUSTERS", "SLURM_CLUSTERS")),
    ],
)
def test_an_options_variables_are_known(name, variables):
    assert variables_of(name) == variables


def test_rivals_are_the_others():
    assert rivals_of("mem") == {"mem-per-cpu", "mem-per-gpu"}
    assert rivals_of("nodes") == frozenset()
