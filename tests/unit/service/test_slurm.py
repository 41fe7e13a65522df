"""The script of a SLURM job: what is in it, and that it hands over what was typed.

The files in golden/ are whole scripts; `make check` reads them as it does all scripts.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from empo_rllib.errors import ConfigError
from empo_rllib.service.sbatch_options import Option
from empo_rllib.service.slurm import (
    JOB_SCRIPT,
    SITE_OPTIONS,
    build_job,
    check_repository,
    read_header,
    read_typed_options,
    render_hints,
    render_job,
)

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = Path(__file__).parent / "golden"
# Not that of JOB_SCRIPT, whose numbers may change.
HEADER = [
    Option("nodes", "1"),
    Option("cpus-per-task", "4"),
    Option("mem-per-cpu", "2G"),
    Option("signal", "B:USR1@120"),
    Option("requeue"),
]
CONFIG = ["--config", "tune_configs/ppo.yaml"]


def build(typed=(), arguments=CONFIG, environment=None, name="empty-8x8-ppo"):
    return build_job(HEADER, name, typed, arguments, environment or {})


JOBS = {
    "plain": build(),
    "two_nodes_with_gpus": build(
        read_typed_options(
            {
                "--nodes": 2,
                "--time": "1-12:00:00",
                "--gpus-per-node": "a100:4",
                "--cpus-per-node": 32,
            },
            ["--mem=240G", "-q high"],
        ),
        [*CONFIG, "--resume"],
    ),
    "set": build(
        arguments=[
            *CONFIG,
            *("--set", 'algorithm.callbacks=["mine:Told", "mine:Drawn"]'),
            *("--set", 'env.kwargs={"goal": "red", "note": "it\'s 5 o\'clock"}'),
            *("--set", "algorithm.params.lr={loguniform: [1.0e-4, 1.0e-2]}"),
            "--overwrite",
        ]
    ),
    "site": build(
        read_typed_options({"--time": "4:00:00"}, ["--comment=it's a \\ test #5"]),
        environment={
            SITE_OPTIONS: "-p gpu,main --cpus-per-task 16 --exclusive --comment='of the site'",
            "SBATCH_MEM_PER_NODE": "64G",
            "SBATCH_TIMELIMIT": "60",
        },
    ),
    "array": build(read_typed_options({"--array": 4, "--time": "60"}, [])),
    "no_container": build(arguments=["--no-container", *CONFIG]),
}


@pytest.mark.parametrize("name", JOBS)
def test_the_script_is_the_golden_one(name):
    assert render_job(JOBS[name]) == (GOLDEN / f"{name}.sh").read_text()


def test_every_golden_script_is_tested_and_is_bash():
    scripts = sorted(GOLDEN.glob("*.sh"))
    assert {script.stem for script in scripts} == JOBS.keys()
    for script in scripts:
        subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize(
    "arguments", [JOBS["set"].arguments, ["--set", "a='\n#SBATCH -H\n\\ $(ls)"]]
)
def test_the_job_script_gets_the_arguments_as_they_were_typed(arguments, tmp_path):
    script = tmp_path / JOB_SCRIPT
    script.parent.mkdir()
    script.write_text("#!/usr/bin/env bash\nprintf '%s\\0' \"$@\"\n")
    script.chmod(0o755)
    answer = subprocess.run(
        ["bash"],
        input=render_job(build(arguments=arguments)),
        env={"PATH": os.environ["PATH"], "SLURM_SUBMIT_DIR": str(tmp_path)},
        cwd="/",  # as with sbatch's --chdir
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.split("\0")[:-1] == arguments


def test_the_defaults_are_those_of_the_real_job_script():
    header = read_header(ROOT / JOB_SCRIPT)
    lines = re.findall(r"^#SBATCH .*", (ROOT / JOB_SCRIPT).read_text(), re.MULTILINE)
    assert [f"#SBATCH {option.render()}" for option in header] == lines
    assert {"nodes", "signal", "requeue", "open-mode"} <= dict(header).keys()


def test_the_header_ends_where_the_commands_begin(tmp_path):
    script = tmp_path / "job.sh"
    script.write_text(
        "#!/bin/sh\n#SBATCH -N 2 --exclusive # both\n\n# words\n#SBATCHED\n#SBATCH --time 5\n"
        "true\n#SBATCH --hold\n"
    )
    assert read_header(script) == [Option("nodes", "2"), Option("exclusive"), Option("time", "5")]


def test_a_variable_of_sbatch_goes_only_where_an_option_was_typed():
    environment = {
        "SBATCH_TIMELIMIT": "60",
        "SBATCH_MEM_PER_NODE": "8G",
        "SBATCH_QOS": "low",
        "EMPO_RLLIB_BIND": "/data",
        SITE_OPTIONS: "--qos=site",
    }
    typed = read_typed_options({"--time": "5"}, ["--mem-per-cpu=3G"])
    job = build(typed, environment=environment)
    assert job.environment == {
        key: environment[key] for key in ("SBATCH_QOS", "EMPO_RLLIB_BIND", SITE_OPTIONS)
    }
    assert job.variables == {"SBATCH_QOS": "low"}
    assert (job.value_of("time"), job.value_of("mem-per-cpu")) == ("5", "3G")
    assert job.value_of("qos") == "low"  # sbatch takes the variable
    assert job.value_of("account") is None


def test_a_job_has_the_experiments_name_unless_another_is_given():
    assert build().value_of("job-name") == "empty-8x8-ppo"
    assert build(environment={SITE_OPTIONS: "-J site"}).value_of("job-name") == "site"
    assert build([Option("job-name", "mine")]).value_of("job-name") == "mine"


def test_site_options_that_cannot_be_read_are_told_by_their_variable():
    with pytest.raises(ConfigError, match=f"^{SITE_OPTIONS}: 'gpu' is not an option"):
        build(environment={SITE_OPTIONS: "gpu"})


def test_a_request_that_would_add_a_line_is_refused():
    with pytest.raises(ConfigError, match=r"^--time: "):
        read_typed_options({"--time": "5\n#SBATCH --hold"}, [])


def test_another_folder_than_the_repository_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    check_repository()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=rf"no cluster/ray_slurm\.sh in {tmp_path}\."):
        check_repository()


@pytest.mark.parametrize(
    "answer",
    [
        "Submitted batch job 123\n",
        "Submitted batch job 123 on cluster big\n",
        "123\n",
        "123;big\n",
        "Welcome to node 7\nSubmitted batch job 123\n",
    ],
)
def test_the_jobs_number_is_found_in_what_sbatch_prints(answer):
    assert render_hints(build(), answer) == ("follow  tail -F slurm-123.out\nstop    scancel 123")


@pytest.mark.parametrize(
    ("typed", "environment", "file"),
    [
        ([Option("output", "logs/%x-%j.log")], {}, "logs/empty-8x8-ppo-123.log"),
        ([], {"SBATCH_OUTPUT": "%5j.out"}, "123.out"),
        ([Option("output", "%N.log")], {}, "*.log"),
        ([Option("chdir", "/scratch")], {}, "/scratch/slurm-123.out"),
        ([Option("array", "0-3")], {}, "slurm-123_*.out"),
        ([Option("output", "%A-%4a-%j.log")], {"SBATCH_ARRAY_INX": "0-3"}, "123-*-*.log"),
        ([Option("chdir", "/scratch"), Option("output", "/logs/%j")], {}, "/logs/123"),
    ],
)
def test_the_log_is_where_the_options_put_it(typed, environment, file):
    hints = render_hints(build(typed, environment=environment), "Submitted batch job 123")
    assert f"tail -F {file}\n" in hints


def test_no_hints_without_a_job():
    assert render_hints(build(), "allocation would start tomorrow\n") == ""
