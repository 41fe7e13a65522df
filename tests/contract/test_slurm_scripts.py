"""The SLURM scripts where no SLURM is: settings, documents, and what they never do."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer.main

from empo_rllib.config.load import load_config
from empo_rllib.tune import app

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "cluster/slurm"
SITE = (FOLDER / "site.example.sh").read_text()
SCRIPTS = {
    path.name: path.read_text()
    for path in [
        ROOT / "cluster/ray_slurm.sh",
        ROOT / "cluster/setup_cluster_image.sh",
        *(path for path in FOLDER.glob("*.sh") if path.name != "site.example.sh"),
    ]
}
GUIDE = (ROOT / "docs/slurm.md").read_text()
# Not settings: what the scripts tell each other, and what the command `submit` reads.
INTERNAL = {"REPOSITORY", "CONTAINER", "FOLDER", "HEAD", "HEAD_PORT"}


def names_in(text: str) -> set[str]:
    return set(re.findall(r"EMPO_RLLIB_([A-Z_]+)\b", text))


def test_every_setting_is_in_the_example_and_in_the_guide():
    used = set.union(*map(names_in, SCRIPTS.values())) - INTERNAL
    assert len(used) >= 9
    offered = {*used, "SBATCH_OPTIONS"}
    assert names_in(SITE) == offered
    assert names_in(GUIDE) == offered


@pytest.mark.parametrize(("name", "default"), [("MAX_REQUEUES", "20"), ("START_S", "45")])
def test_defaults_are_the_ones_that_are_told(name, default):
    assert f"${{EMPO_RLLIB_{name}:-{default}}}" in SCRIPTS["ray_slurm.sh"]
    assert f"EMPO_RLLIB_{name}={default}" in SITE


def test_the_example_changes_nothing_as_it_is():
    code = [line for line in SITE.splitlines() if line and not line.startswith("#")]
    assert code == []
    settings = [line[2:] for line in SITE.splitlines() if line.startswith("# export ")]
    assert len(settings) >= 15
    subprocess.run(["bash", "-euc", "\n".join(settings)], check=True)


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_ends_the_processes_of_others(name):
    for command in ("ray stop", "symmetric-run", "pkill", "killall"):
        assert command not in SCRIPTS[name]


@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_of_a_site_is_in_a_script(name):
    assert not re.search(r"--(partition|account|qos)|module load [a-z]", SCRIPTS[name])


def documented() -> list[str]:
    blocks = re.findall(r"^```console\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("sbatch ")]


@pytest.mark.parametrize("line", documented())
def test_every_documented_job_is_understood(line):
    """What follows the script are arguments of `python -m empo_rllib.tune`."""
    _, *words = shlex.split(line)
    script = words.index("cluster/ray_slurm.sh")
    assert all(re.fullmatch(r"--[a-z-]+=\S+", option) for option in words[:script])
    arguments = words[script + 1 :]
    if arguments[:1] == ["--no-container"]:
        arguments = arguments[1:]
    command = typer.main.get_command(app)
    defaults = [] if "--config" in arguments else ["--config", "tune_configs/ppo.yaml"]
    params = command.make_context("ray_slurm.sh", [*defaults, *arguments]).params
    assert load_config(ROOT / str(params["config"]), params["set_"] or []).name


def test_the_guide_has_jobs_to_test():
    assert len(documented()) >= 8
