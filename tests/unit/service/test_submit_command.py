"""`submit --slurm` with a stand-in for sbatch, and which options go together."""

from __future__ import annotations

import json
import os
import sys

import pytest

from empo_rllib import cli
from empo_rllib.service.slurm import SITE_OPTIONS

EXPERIMENT = """
name: maze
env: {id: MultiGrid-Empty-5x5-v0}
algorithm: {name: PPO}
"""
JOB_SCRIPT = "#!/usr/bin/env bash\n#SBATCH --nodes=1\n#SBATCH --mem-per-cpu=2G\ntrue\n"
# Notes what it was given in the folder that it is in.
SBATCH = """#!{python}
import json, os, sys
from pathlib import Path

asked = dict(arguments=sys.argv[1:], environment=dict(os.environ), script=sys.stdin.read())
Path(__file__).with_name("asked.json").write_text(json.dumps(asked))
print({out!r})
print({err!r}, file=sys.stderr)
sys.exit({code})
"""


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch):
    """The folder that commands are typed in, of a user without settings of sbatch."""
    for name in [n for n in os.environ if n.startswith(("SBATCH_", "SLURM_", "EMPO_RLLIB_"))]:
        monkeypatch.delenv(name)
    folder = tmp_path / "repository"
    (folder / "cluster").mkdir(parents=True)
    (folder / "cluster/ray_slurm.sh").write_text(JOB_SCRIPT)
    (folder / "maze.yaml").write_text(EXPERIMENT)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    """Puts an sbatch in PATH that answers so; returns what tells what the last one was asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)

    def install(out="Submitted batch job 123", err="", code=0):
        text = SBATCH.format(python=sys.executable, out=out, err=err, code=code)
        (folder / "sbatch").write_text(text)
        (folder / "sbatch").chmod(0o755)

    def asked():
        return json.loads((folder / "asked.json").read_text())

    install()
    asked.install = install
    asked.is_new = lambda: not (folder / "asked.json").exists()
    return asked


@pytest.fixture
def submit(monkeypatch, capsys):
    """Runs `python -m empo_rllib submit`: exit code, stdout, stderr."""

    def run(*arguments, config="maze.yaml"):
        typed = ["empo_rllib", "submit", "--config", config, *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", typed)
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        output = capsys.readouterr()
        return exit_.value.code, output.out, output.err

    return run


def test_sbatch_gets_the_script_and_its_answer_is_printed(submit, sbatch):
    code, out, err = submit("--slurm", "--nodes", 2, "--set", "stop.env_steps=[1, 2]", "--resume")
    assert code == 2  # not an experiment: nothing is submitted
    assert sbatch.is_new()

    code, out, err = submit("--slurm", "--nodes", 2, "--set", "env.kwargs={size: 5}", "--resume")
    assert (code, out) == (0, "Submitted batch job 123\n")
    assert err.strip() == "follow  tail -F slurm-123.out\nstop    scancel 123"
    assert sbatch()["arguments"] == []
    assert sbatch()["script"] == (
        "#!/usr/bin/env bash\n"
        "#SBATCH --job-name=maze\n"
        "#SBATCH --nodes=2\n"
        "#SBATCH --mem-per-cpu=2G\n"
        'exec "$SLURM_SUBMIT_DIR/cluster/ray_slurm.sh" --config maze.yaml '
        "--set 'env.kwargs={size: 5}' --resume\n"
    )


def test_a_dry_run_prints_the_script_and_submits_nothing(submit, sbatch, monkeypatch, repository):
    (repository / "results/maze").mkdir(parents=True)
    (repository / "results/maze/resolved_config.yaml").touch()
    monkeypatch.setenv("SBATCH_QOS", "low")
    monkeypatch.setenv("SBATCH_TIMELIMIT", "60")
    code, out, err = submit("--slurm", "--time", "5", "--dry-run", "--no-container")
    assert code == 0
    assert out.splitlines()[-2:] == [
        "#SBATCH --time=5",
        'exec "$SLURM_SUBMIT_DIR/cluster/ray_slurm.sh" --no-container --config maze.yaml',
    ]
    assert err == "note: SBATCH_QOS=low in the environment wins over these lines\n"
    assert sbatch.is_new()


def test_what_is_typed_wins_over_the_site_and_the_site_over_the_job_script(
    submit, sbatch, monkeypatch
):
    monkeypatch.setenv(SITE_OPTIONS, "--nodes=4 -p gpu --mem=8G")
    monkeypatch.setenv("SBATCH_TIMELIMIT", "60")
    monkeypatch.setenv("SBATCH_GPUS_PER_NODE", "1")
    monkeypatch.setenv("SBATCH_QOS", "low")
    monkeypatch.setenv("EMPO_RLLIB_BIND", "/data")
    typed = ["--gpus-per-node", 2, "--cpus-per-node", 8, "--sbatch=--time=5", "--sbatch", "-N 3"]
    assert submit("--slurm", *typed)[0] == 0

    directives = [line for line in sbatch()["script"].splitlines() if line.startswith("#SBATCH")]
    assert directives == [
        "#SBATCH --job-name=maze",
        "#SBATCH --nodes=3",
        "#SBATCH --partition=gpu",
        "#SBATCH --mem=8G",
        "#SBATCH --gpus-per-node=2",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --time=5",
    ]
    environment = sbatch()["environment"]
    assert (environment["SBATCH_QOS"], environment["EMPO_RLLIB_BIND"]) == ("low", "/data")
    assert not {"SBATCH_TIMELIMIT", "SBATCH_GPUS_PER_NODE"} & environment.keys()


def test_what_sbatch_says_beside_its_answer_is_passed_on(submit, sbatch):
    sbatch.install(err="sbatch: your project has 5 hours left")
    code, out, err = submit("--slurm")
    assert (code, out) == (0, "Submitted batch job 123\n")
    assert err.startswith("sbatch: your project has 5 hours left\nfollow ")


def test_the_exit_code_of_a_job_that_sbatch_waited_for_is_kept(submit, sbatch):
    sbatch.install(code=75)
    assert submit("--slurm", "--sbatch=--wait")[0] == 75


@pytest.mark.parametrize(
    ("out", "err", "message"),
    [
        (
            "",
            "sbatch: error: invalid partition specified: x\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified",
            "invalid partition specified: x; "
            "Batch job submission failed: Invalid partition name specified",
        ),
        ("Welcome\nFAILED", "", "Welcome; FAILED"),
        ("", "", "it ended with exit code 1"),
    ],
)
def test_a_refusal_of_sbatch_is_one_line(submit, sbatch, out, err, message):
    sbatch.install(out=out, err=err, code=1)
    assert submit("--slurm") == (2, "", f"error: sbatch did not take the job: {message}\n")


def test_a_machine_without_sbatch_is_told(submit, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, err = submit("--slurm")
    assert (code, out) == (2, "")
    assert err.startswith("error: sbatch cannot be run: No such file or directory. Type this where")


def test_results_that_are_there_are_told_before_the_job_waits_for_its_turn(
    submit, sbatch, repository
):
    run = repository / "results/maze"
    run.mkdir(parents=True)
    (run / "resolved_config.yaml").touch()
    code, out, err = submit("--slurm")
    assert (code, out) == (2, "")
    assert f"{run} already has results" in err
    assert sbatch.is_new()
    assert submit("--slurm", "--overwrite")[0] == 0
    assert submit("--slurm", "--resume")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nodes", 2, "--dry-run"], "--nodes, --dry-run: only with --slurm"),
        (["--sbatch=-H", "--time", ""], "--time, --sbatch: only with --slurm"),
        (["--no-container"], "--no-container: only with --slurm"),
        (["--gpus-per-node=1", "--cpus-per-node=1"], "--gpus-per-node, --cpus-per-node: only with"),
        (["--slurm", "--follow"], "--follow: not with --slurm"),
        (["--slurm", "--list-upload"], "--list-upload: not with --slurm"),
        (["--slurm", "--include=a"], "--include: not with --slurm"),
        (["--include=a.pem", "--list-upload"], "a.pem: it is in no package or module"),
        (["--slurm", "--address=a", "--token-file=t"], "--address, --token-file: not with --slurm"),
        (["--slurm", "--sbatch=qos"], "--sbatch: 'qos' is not an option for an sbatch job"),
        (["--slurm", "--nodes=0"], "should be greater than or equal to 1"),
        (["--slurm", "--resume", "--overwrite"], "--resume and --overwrite exclude each other"),
        (["--slurm", "--set", "sead=1"], "--set: sead"),
        (["--slurm", "--set", "storage_path=s3://bucket"], "only paths and file:///path URIs"),
    ],
)
def test_a_users_mistake_is_one_message_and_exit_code_2(submit, sbatch, arguments, message):
    code, out, err = submit(*arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err
    assert sbatch.is_new()


def test_the_upload_is_listed_without_a_cluster(submit, repository):
    (repository / "mazes.py").write_text("# 12 bytes\n")
    code, out, err = submit("--list-upload", "--set", "env.id=mazes:make", "--address=http://x")
    assert (code, err) == (0, "")
    assert [row.split()[1] for row in out.splitlines()] == ["experiment.yaml", "mazes.py"]


def test_another_folder_than_the_repository_is_told_before_its_files_are_missed(
    submit, sbatch, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, out, err = submit("--slurm")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: --slurm: there is no cluster/ray_slurm.sh in {tmp_path}. ")
