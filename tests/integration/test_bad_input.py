"""Every mistake gets one readable message and exit code 2; nothing is written, no Ray is started.

The command runs in this process, which shows that Ray stays out; the last tests repeat some of the
mistakes in a shell's way.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from commands import TINY, Workplace, merge, snapshot

# RLlib warns about its own parts.
pytestmark = [pytest.mark.core, pytest.mark.filterwarnings("ignore")]

OWN_ENVS = """
import pettingzoo

NUMBER = 3


def number():
    return NUMBER


def broken():
    raise OSError("the map is lost")
"""


@dataclass(frozen=True)
class Mistake:
    """An experiment, or the text in its place, with the arguments, and what the message says."""

    says: tuple[str, ...]
    changes: dict = field(default_factory=dict)
    args: tuple[str, ...] = ()
    prepare: Callable[[Path, Path], object] | None = None


def says(*parts: str, args: str = "", prepare=None, **changes) -> Mistake:
    return Mistake(parts, changes, tuple(args.split()), prepare)


def text(content: str | bytes) -> Callable[[Path, Path], object]:
    """Puts something else in the place of the experiment."""
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder, run: (folder / "tiny.yaml").write_bytes(data)


def no_file(folder: Path, run: Path) -> None:
    (folder / "tiny.yaml").rename(folder / "tinny.yaml")


def directory(folder: Path, run: Path) -> None:
    no_file(folder, run)
    (folder / "tiny.yaml").mkdir()


def other_folder(folder: Path, run: Path) -> None:
    """A folder of the run's name that is no run."""
    (folder / "results" / "tiny").mkdir(parents=True)
    (folder / "results" / "tiny" / "thesis.tex").write_text("years of work")


def finished_run(damage: Callable[[Path], object] | None = None) -> Callable[[Path, Path], object]:
    """A run in the place that the experiment asks for, damaged."""

    def prepare(folder: Path, run: Path) -> None:
        target = folder / "results" / "smoke"
        shutil.copytree(run, target)
        shutil.copy(run / "resolved_config.yaml", folder / "tiny.yaml")
        if damage:
            damage(target)

    return prepare


def checkpoints(run: Path) -> list[Path]:
    """All checkpoints: of one damaged checkpoint the one before it takes the place."""
    found = sorted((run / "trial_00000").glob("checkpoint_*"))
    assert found
    return found


def break_counters(run: Path) -> None:
    for checkpoint in checkpoints(run):
        (checkpoint / "state.json").write_text('{"format": 1, "coun')


def break_weights(run: Path) -> None:
    for checkpoint in checkpoints(run):
        path = checkpoint / "policies/agent_0.safetensors"
        path.write_bytes(path.read_bytes()[:100])


def break_algorithm(run: Path) -> None:
    for checkpoint in checkpoints(run):
        shutil.rmtree(checkpoint / "algorithm")


def break_summary(run: Path) -> None:
    (run / "summary.json").write_text('{"status": "fini')


def remove_checkpoints(run: Path) -> None:
    for checkpoint in checkpoints(run):
        shutil.rmtree(checkpoint)


def starting_from(path: str) -> dict:
    policies = {"agent_0": {"policy": "agent_0", "checkpoint": path}, "agent_1": "agent_1"}
    return {"policies": policies, "model": {"hidden_sizes": [64, 64]}}


def damaged_source(damage: Callable[[Path], object]) -> Callable[[Path, Path], object]:
    """A run to start a policy from, damaged."""

    def prepare(folder: Path, run: Path) -> None:
        shutil.copytree(run, folder / "source")
        damage(folder / "source")

    return prepare


def central_critic_of(algorithm: str) -> dict:
    return {"algorithm": {"name": algorithm, "params": None}, "model": {"critic": "central"}}


def params(**values) -> dict:
    return {"algorithm": {"params": values}}


MISTAKES = {
    # The file.
    "missing-file": says("tiny.yaml", "no such file", "tinny.yaml", prepare=no_file),
    "empty-file": says("tiny.yaml", "empty", prepare=text("")),
    "comments-only": says("tiny.yaml", "empty", prepare=text("# to be written\n")),
    "binary-file": says("tiny.yaml", "not a text file", prepare=text(b"\x89PNG\r\n\x1a\n\0\xff")),
    "directory": says("tiny.yaml", "is a directory", prepare=directory),
    "invalid-yaml": says("tiny.yaml:2: invalid YAML", prepare=text("name: a\nenv: {id: [}\n")),
    "list": says("tiny.yaml", "a list", prepare=text("- name: a\n- seed: 1\n")),
    # Keys and values.
    "unknown-key": says("algoritm", "Did you mean 'algorithm'?", algoritm={}),
    "nested-unknown-key": says("stop.env_step", "Did you mean 'env_steps'?", stop={"env_step": 3}),
    "missing-key": says("env.id is missing", env={"id": None}),
    "wrong-type": says("seed = 'three'", "integer", seed="three"),
    "several": says("seed = 'three'", "stop.env_steps = -1", seed="three", stop={"env_steps": -1}),
    "never-stops": says("stop", "never stops", prepare=None, args="--set stop.env_steps=null"),
    # The environment.
    "unknown-env": says(
        *("env.id = 'MultiGrid-Empty-8x9-v0'", "Did you mean 'MultiGrid-Empty-8x8-v0'?"),
        env={"id": "MultiGrid-Empty-8x9-v0"},
    ),
    "no-module": says("no_such_module", env={"id": "no_such_module:make", "kwargs": None}),
    "no-factory": says("own_envs.make", env={"id": "own_envs:make", "kwargs": None}),
    "constant": says("own_envs.NUMBER", "not a function", env={"id": "own_envs:NUMBER"}),
    "not-an-env": says("int", "no environment", env={"id": "own_envs:number", "kwargs": None}),
    "not-a-factory": says(
        "'os:system' is not imported: it belongs to Python's own library",
        env={"id": "os:system", "kwargs": None},
    ),
    "factory-raises": says("the map is lost", env={"id": "own_envs:broken", "kwargs": None}),
    "no-agents": says("env.num_agents = 0", "at least 1", env={"num_agents": 0}),
    "unknown-argument": says(
        *("max_step", "Did you mean 'max_steps'?"), env={"kwargs": {"max_step": 3}}
    ),
    # The policies.
    "agent-left-out": says("leaves out 'agent_1'", policies={"agent_0": "a"}),
    "no-such-agent": says("'c'", "matches no agent", policies={"agent_*": "a", "walker": "c"}),
    "unknown-policies": says("'shard'", "Did you mean 'shared'?", policies="shard"),
    # The algorithm.
    "unknown-algorithm": says("'PPPO'", "PPO, APPO, IMPALA", algorithm={"name": "PPPO"}),
    "unknown-param": says("lrr", "Did you mean 'lr'?", **params(lrr=0.1)),
    "param-of-another": says("tau", "PPO has no such parameter", **params(tau=0.1)),
    "impossible-lr": says("algorithm.params.lr = -0.1", **params(lr=-0.1)),
    "impossible-gamma": says("algorithm.params.gamma = 1.5", **params(gamma=1.5)),
    "impossible-epochs": says("algorithm.params.num_epochs = 0", **params(num_epochs=0)),
    "minibatch": says(
        "minibatch_size = 500 exceeds train_batch_size_per_learner = 100",
        **params(minibatch_size=500),
    ),
    "no-callback": says("own_envs:Nothing", algorithm={"callbacks": ["own_envs:Nothing"]}),
    "critic-without-a-state": says("no state_space", "critic: central", model={"critic": "state"}),
    "critic-of-another": says("'central' is for PPO", "IMPALA", **central_critic_of("IMPALA")),
    "no-model": says("own_envs:number", model={"class": "own_envs:number"}),
    # Resources, storage and trials.
    "too-many-cpus": says("4001 CPU", "this machine", resources={"num_env_runners": 4000}),
    "too-many-gpus": says("64 GPU", "this machine", resources={"num_gpus_per_learner": 64}),
    "negative": says("num_env_runners = -1", resources={"num_env_runners": -1}),
    "storage-in-file": says("storage_path", "cannot be written", storage_path="own_envs.py/below"),
    "storage-in-proc": says("storage_path", "cannot be written", storage_path="/proc/nothing"),
    "storage-in-a-bucket": says("storage_path", "s3://bucket", storage_path="s3://bucket/runs"),
    "unknown-metric": says("'retrun'", "episode_return_mean", tune={"metric": "retrun"}),
    "metric-of-nobody": says("'nobody'", tune={"metric": "policy_return_mean/nobody"}),
    # Checkpoints to start from.
    "no-checkpoint": says("elsewhere", "no such folder", **starting_from("elsewhere")),
    "not-a-run": says("home", "not a run folder", **starting_from("home")),
    "corrupt-counters": says(
        "state.json", "damaged", prepare=damaged_source(break_counters), **starting_from("source")
    ),
    "corrupt-weights": says(
        *("agent_0.safetensors", "damaged"),
        prepare=damaged_source(break_weights),
        **starting_from("source"),
    ),
    "no-checkpoint-yet": says(
        "no checkpoint", prepare=damaged_source(remove_checkpoints), **starting_from("source")
    ),
    "no-such-policy": says(
        *("no policy 'agent_9'", "agent_0, agent_1"),
        prepare=damaged_source(lambda run: None),
        **starting_from("source#agent_9"),
    ),
    # The run folder.
    "taken": says(
        "results/smoke already has results. Continue with --resume (in Python: resume=True), "
        "start again with --overwrite (in Python: overwrite=True), or choose another name.\n",
        prepare=finished_run(),
    ),
    "folder-of-another-kind": says("is not a run folder", prepare=other_folder),
    "overwrite-of-another-kind": says(
        "is not a run folder", prepare=other_folder, args="--overwrite"
    ),
    "resume-of-another-kind": says("nothing to resume", prepare=other_folder, args="--resume"),
    "nothing-to-resume": says("--resume", "nothing to resume", args="--resume"),
    "resume-and-overwrite": says("exclude each other", args="--resume --overwrite"),
    "resume-under-another-name": says(
        "nothing to resume", prepare=finished_run(), args="--resume --set name=never-started"
    ),
    "resume-of-another-experiment": says(
        *("seed: 0 -> 7", "algorithm.params.lr: 0.0005 -> 0.5", "env.num_agents: 2 -> 3"),
        "stop, checkpoint, logging, resources may change",
        prepare=finished_run(),
        args="--resume --set seed=7 --set algorithm.params.lr=0.5 --set env.num_agents=3",
    ),
    "resume-of-a-damaged-summary": says(
        "summary.json", "damaged", prepare=finished_run(break_summary), args="--resume"
    ),
    "resume-of-corrupt-counters": says(
        *("state.json", "damaged"),
        prepare=finished_run(break_counters),
        args="--resume --set stop.env_steps=5000",
    ),
    "resume-of-half-a-checkpoint": says(
        "checkpoint_000003",
        prepare=finished_run(break_algorithm),
        args="--resume --set stop.env_steps=5000",
    ),
    # The cluster.
    "no-cluster": says("127.0.0.1:1", "Connection refused", args="--address 127.0.0.1:1"),
    "no-address": says("host:port", args="--address somewhere"),
    # The command line.
    "set-without-value": says("--set seed", "key=value", args="--set seed"),
    "set-of-nothing": says("--set =3", "not a key", args="--set =3"),
    "set-unknown-key": says("--set: sed = 3", "Did you mean 'seed'?", args="--set sed=3"),
    "set-invalid-yaml": says("--set seed=[", args="--set seed=["),
    "set-below-a-value": says("name = 'tiny' is not a section", args="--set name.first=x"),
}
# Some of each kind; a shell sees the same as the test in this process.
IN_A_SHELL = (
    "missing-file",
    "unknown-key",
    "unknown-env",
    "storage-in-file",
    "too-many-cpus",
    "corrupt-weights",
    "set-without-value",
)


def write_experiment(mistake: Mistake, folder: Path, run: Path) -> None:
    (folder / "tiny.yaml").write_text(yaml.safe_dump(merge(TINY, mistake.changes)))
    (folder / "own_envs.py").write_text(OWN_ENVS)
    (folder / "home").mkdir(exist_ok=True)
    if mistake.prepare:
        mistake.prepare(folder, run)


@pytest.fixture
def smoke_run(smoke, smoke_place) -> Path:
    return smoke_place.run("smoke").folder


@pytest.fixture
def tune_here(tmp_path, monkeypatch, capsys):
    """Returns `python -m empo_rllib.tune` in this process, for which starting Ray is an error."""
    import ray

    from empo_rllib.tune import main

    def refuse(*args, **kwargs):
        raise AssertionError("Ray was started")

    def tune(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tune", *args])
        with pytest.raises(SystemExit) as exit_info:
            main()
        return exit_info.value.code, *capsys.readouterr()

    before = set(os.environ)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(ray, "init", refuse)
    yield tune
    assert not ray.is_initialized()
    sys.modules.pop("own_envs", None)
    for key in set(os.environ) - before:
        if key.startswith(("RAY_", "TUNE_")):
            del os.environ[key]


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_and_nothing_is_written(name, tune_here, tmp_path, smoke_run):
    mistake = MISTAKES[name]
    write_experiment(mistake, tmp_path, smoke_run)
    before = snapshot(tmp_path)
    code, stdout, stderr = tune_here("--config", "tiny.yaml", *mistake.args)
    check_message(mistake, code, stdout, stderr)
    assert snapshot(tmp_path) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_A_SHELL)
def test_a_shell_sees_the_same(name, place: Workplace, smoke_run):
    mistake = MISTAKES[name]
    for path in place.folder.iterdir():
        if path != place.home:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_experiment(mistake, place.folder, smoke_run)
    before = snapshot(place.folder)
    outcome = place.tune("--config", "tiny.yaml", *mistake.args)
    check_message(mistake, outcome.code, outcome.stdout, outcome.stderr)
    assert snapshot(place.folder) == before
    assert not place.processes()


def check_message(mistake: Mistake, code: int, stdout: str, stderr: str) -> None:
    assert code == 2, stderr
    assert stdout == ""
    assert stderr.count("error: ") == 1
    headline = stderr.partition("error: ")[0]  # where Ray had to be imported to see the mistake
    assert re.fullmatch(r"([\w-]+: \w+ on .*, results in .*\n)?", headline)
    assert "Traceback" not in stderr
    for part in mistake.says:
        assert part in stderr


@pytest.mark.parametrize("args", ["", "--config", "--config tiny.yaml --overwright", "tiny.yaml"])
def test_wrong_arguments_are_told(args, tune_here):
    code, stdout, stderr = tune_here(*args.split())
    assert code == 2
    assert stdout == ""
    assert "Error" in stderr
    assert "Traceback" not in stderr
