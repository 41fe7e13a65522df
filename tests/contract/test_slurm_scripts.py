"""The SLURM scripts where no SLURM is: settings, documents, and what they never do."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer.main
from slurm import why_not_seen_by_hosts

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


def test_the_tests_refuse_a_clone_that_the_nodes_of_their_cluster_would_not_find():
    assert "have a /tmp of their own" in why_not_seen_by_hosts(Path("/tmp/clone"))
    assert "have a /home of their own" in why_not_seen_by_hosts(Path("/home/me/clone/.venv"))
    assert why_not_seen_by_hosts(Path("/var/tmp/clone")) is None


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


def on_node(function: str, **env: str) -> str:
    """What a function of node.sh prints on a node of a job with these variables."""
    job = {"SLURMD_NODENAME": "localhost", "EMPO_RLLIB_REPOSITORY": str(ROOT)}
    job |= {"SLURM_CPUS_ON_NODE": "4", "PATH": os.environ["PATH"]}
    script = f". {FOLDER}/node.sh; {function}"
    answer = subprocess.run(
        ["bash", "-uc", script], env={**job, **env}, capture_output=True, text=True, check=True
    )
    assert answer.stderr == ""
    return answer.stdout.strip()


@pytest.mark.parametrize(
    ("env", "memory_mb"),
    [
        ({"SLURM_MEM_PER_NODE": "9000", "SLURM_MEM_PER_CPU": "1"}, 9000),
        ({"SLURM_MEM_PER_CPU": "2000"}, 8000),
        ({"SLURM_MEM_PER_GPU": "5000", "SLURM_GPUS_ON_NODE": "2"}, 10000),
    ],
)
def test_memory_is_what_the_job_has(env, memory_mb):
    assert on_node("node_memory_mb", **env) == str(memory_mb)


def test_memory_that_is_not_limited_is_shared_as_the_cpus_are():
    total_kb = int(Path("/proc/meminfo").read_text().split()[1])
    cpus = os.cpu_count() or 1
    half = on_node("node_memory_mb", SLURM_CPUS_ON_NODE=str(cpus / 2))
    assert int(half) == pytest.approx(total_kb / 1024 / 2, abs=1)
    assert int(on_node("node_memory_mb", SLURM_CPUS_ON_NODE="99999")) <= total_kb / 1024


@pytest.mark.parametrize(
    ("visible", "count"), [("0,3", 2), ("7", 1), ("GPU-ab,MIG-cd,2", 3), ("", 0), ("NoDevFiles", 0)]
)
def test_gpus_are_those_that_are_visible(visible, count):
    assert on_node("node_gpus", CUDA_VISIBLE_DEVICES=visible) == str(count)
    assert on_node("node_gpus") == "0"


def test_the_object_store_is_bounded_by_memory_and_by_what_is_free():
    small = int(on_node("object_store_mb", SLURM_MEM_PER_NODE="100"))
    assert small == 30
    before = shutil.disk_usage("/dev/shm").free
    large = int(on_node("object_store_mb", SLURM_MEM_PER_NODE="100000000"))
    least, most = sorted([before, shutil.disk_usage("/dev/shm").free])  # others use it too
    assert 0.8 * least / 2**20 * 0.95 <= large <= 0.8 * most / 2**20 * 1.05


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("2026 INFO x.py:1 -- Ray runtime started.\n\n", "Ray runtime started."),
        ("Traceback\nValueError: bad port\n", "ValueError: bad port"),
        (
            "2026 ERR s.py:1 -- Some Ray subprocesses exited unexpectedly:\n"
            "2026 ERR s.py:2 --   gcs_server [exit code=-9]\n[state-dump] 1\n"
            "2026 ERR s.py:3 -- Remaining processes will be killed.\n",
            "it lost gcs_server [exit code=-9]",
        ),
    ],
)
def test_rays_last_words_tell_what_was_lost(tmp_path, log, words):
    (tmp_path / "ray.log").write_text(log)
    assert on_node(f"folder={tmp_path}; last_words") == words


def test_a_long_folder_is_replaced_and_it_says_so():
    script = "make_folder; stat -c %a $folder; echo $folder; rmdir $folder"
    long = "/tmp/a-folder-of-many-characters"
    note, mode, folder = on_node(script, EMPO_RLLIB_TMP=long).splitlines()
    assert f"{long} is too long for Ray's sockets" in note
    assert mode == "700"
    assert folder.startswith("/tmp/empo-")


def test_the_longest_folder_leaves_room_for_rays_sockets():
    """Ray 2.60 takes at most 39 characters with a dashboard, and hangs with more."""
    longest = int(re.search(r"longest=(\d+)", SCRIPTS["node.sh"])[1])
    assert longest + len("/empo-XXXXXX/ray") <= 39
    assert f"at most {longest} characters" in GUIDE
    assert f"at most {longest} characters" in SITE


def test_the_heads_address_is_told_when_ray_has_written_its_port(tmp_path):
    """Ray says that it runs, makes the file, and only then writes the address into it."""
    start_head = re.search(r"^start_head\(\) \{.*?^\}", SCRIPTS["ray_slurm.sh"], re.M | re.S)[0]
    (tmp_path / "ray.log").write_text("Ray runtime started.\n")
    (tmp_path / "ray").mkdir()
    stubs = """
      start_s=20 asked="" EMPO_RLLIB_HEAD=10.0.0.1 EMPO_RLLIB_HEAD_PORT=""
      has_ended() { return 1; }
      free_port() { echo 1; }
      start_ray() { (sleep 0.3; : >$file; sleep 0.5; echo 10.0.0.1:6379 >$file) & }
    """
    script = f"folder={tmp_path}; file=$folder/ray/ray_current_cluster; {stubs} {start_head}\n"
    assert on_node(script + "start_head; cat $folder/address") == "10.0.0.1:6379"


def test_workers_that_take_long_to_leave_are_waited_for():
    leave_job = re.search(r"^leave_job\(\) \{.*?^\}", SCRIPTS["ray_slurm.sh"], re.M | re.S)[0]
    stubs = """
      tries=0
      leave_node() { :; }
      sleep() {
        tries=$((tries + 1))
        if [ $tries -eq 80 ]; then kill $workers; wait $workers; fi
      }
      command sleep 100 &
      workers=$!
    """
    assert on_node(f"{stubs} {leave_job}\nleave_job; echo $tries") == "80"


def test_a_nodes_folder_goes_also_when_files_are_written_while_it_is_removed(tmp_path):
    folder = tmp_path / "empo-123456"
    folder.mkdir()
    script = f"""
      folder={folder} tries=0
      end_processes() {{ :; }}
      sleep() {{ :; }}
      rm() {{ tries=$((tries + 1)); [ $tries -gt 3 ] && command rm "$@"; }}
      leave_node
    """
    assert on_node(script) == ""
    assert not folder.exists()


@pytest.mark.parametrize("name", ["read_pid", "has_ended"])
def test_what_is_asked_again_and_again_substitutes_no_command(name):
    """A trap that comes while bash 5.2 parses a substitution ends the script."""
    function = re.search(rf"^{name}\(\) \{{.*?^\}}", SCRIPTS["node.sh"], re.M | re.S)[0]
    assert "$(" not in function


def test_a_process_has_ended_when_its_status_is_there_or_nobody_waits_for_it(tmp_path):
    script = f"""
      folder={tmp_path}
      tell() {{ has_ended it && echo ended || echo runs; }}
      sleep 100 & echo $! >$folder/it.pid
      tell
      kill $!; wait $! 2>/dev/null
      tell
      echo 1 >$folder/it.pid; echo 0 >$folder/it.status
      tell
    """
    assert on_node(script).split() == ["runs", "ended", "ended"]


def test_a_status_that_is_written_late_is_waited_for(tmp_path):
    script = f"""
      folder={tmp_path}
      true & echo $! >$folder/it.pid; wait $!
      (sleep 1; echo 2 >$folder/part; mv $folder/part $folder/it.status) &
      has_ended it && exit_code it
    """
    assert on_node(script) == "2"
