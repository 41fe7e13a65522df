"""Corrupt, truncated and foreign run folders: one clear error, no code run, nothing written."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from bars import record_bar

from empo_rllib import cli

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts

MARKER = "EMPO_RLLIB_TEST_MARKER"


# Calls os.putenv when it is unpickled.
BOMB = f"cos\nputenv\n(S'{MARKER}'\nS'1'\ntR.".encode()


@pytest.fixture
def command(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["empo_rllib", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        output = capsys.readouterr()
        return exit_.value.code, output.out, output.err

    return run


def snapshot(folder):
    return {
        path: (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in sorted(folder.rglob("*"))
    }


def replace_by_folder(path):
    path.unlink()
    path.mkdir()


def replace_by_link_to_itself(path):
    path.unlink()
    path.symlink_to(path)


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "all but the end": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "noise": lambda path: path.write_bytes(bytes(range(128, 256)) * 8),
    "a pickle": lambda path: path.write_bytes(BOMB),
    "null": lambda path: path.write_text("null"),
    "a list": lambda path: path.write_text("[1, 2]"),
    "nested without end": lambda path: path.write_text("[" * 100_000),
    "infinite numbers": lambda path: path.write_text('{"format": 1e999, "trials": 1e999}'),
    "a huge header": lambda path: path.write_bytes((2**62).to_bytes(8, "little") + b"{}"),
    "another class": lambda path: path.write_text("!!python/object/apply:os.system ['true']"),
    "a folder": replace_by_folder,
    "a loop": replace_by_link_to_itself,
    "missing": lambda path: path.unlink(),
}
FILES = {
    "summary": "summary.json",
    "config": "resolved_config.yaml",
    "state": "trial_00000/checkpoint_000001/state.json",
    "weights": "trial_00000/checkpoint_000001/policies/agent_1.safetensors",
}
# A text without its last byte, a newline or a bracket, may be whole all the same.
HARMLESS = {("all but the end", "summary"), ("all but the end", "config")}


def rllib_results(folder):
    """What RLlib's own Tune leaves."""
    trial = folder / "PPO_env_1234" / "checkpoint_000000"
    trial.mkdir(parents=True)
    (folder / "tuner.pkl").write_bytes(BOMB)
    (trial / "algorithm_state.pkl").write_bytes(BOMB)
    (folder / "experiment_state-2026.json").write_text("{}")


def other_summary(folder):
    """Another program's `summary.json`, such as a W&B folder's or a benchmark's."""
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps({"status": "finished", "loss": 0.3}))


def hostile_names(folder):
    """A summary whose trial lies elsewhere."""
    folder.mkdir()
    trial = {"trial_id": "../../../../etc", "params": {}, "seed": 0, "status": "finished"}
    summary = {
        "status": "finished",
        "sampler": "rllib",
        "sampler_reason": "",
        "metric": "episode_return_mean",
        "mode": "max",
        "trials": [{**trial, "checkpoint": "x"}],
    }
    (folder / "summary.json").write_text(json.dumps(summary))


FOREIGN = {
    "RLlib's results": rllib_results,
    "another program's summary": other_summary,
    "a trial elsewhere": hostile_names,
    "an empty folder": lambda folder: folder.mkdir(),
    "a file": lambda folder: folder.write_bytes(BOMB),
}


def edited_config(**sections):
    """Changes sections of the experiment; `{harm}` in a text is a file that must not appear."""

    def damage(run, harm):
        path = run / "resolved_config.yaml"
        text = json.dumps(sections).replace("{harm}", str(harm))
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | json.loads(text)))

    return damage


def edited_json(name, change):
    def damage(run, harm):
        content = json.loads((run / name).read_text())
        change(content)
        (run / name).write_text(json.dumps(content))

    return damage


def harmful_env(env_id, **kwargs):
    return edited_config(env={"id": env_id, "num_agents": None, "kwargs": kwargs})


HOSTILE = {
    "a function of Python": harmful_env("os:system", command="touch {harm}"),
    "a class of Python": harmful_env("subprocess:Popen", args=["touch", "{harm}"]),
    "a function of Python in Python": harmful_env("subprocess:run", args=["touch", "{harm}"]),
    "a file to unpickle": harmful_env("torch:load", f="{harm}.pt", weights_only=False),
    "another package's function": harmful_env("numpy:load", file="{harm}.npy", allow_pickle=True),
    "a writer": harmful_env("numpy:savetxt", fname="{harm}", X=[1.0]),
    "a wrapped function": harmful_env("ray:remote", function="touch {harm}"),
    "a network": edited_config(model={"class": "subprocess:Popen", "kwargs": {"args": "{harm}"}}),
    "a network that is a function": edited_config(model={"class": "os:system"}),
    "other params": edited_json("summary.json", lambda s: s["trials"][0]["params"].update(x=1)),
    "no params": edited_config(algorithm={"name": "PPO", "params": {"lr": {"choice": [1, 2]}}}),
    "a trial elsewhere": edited_json(
        "summary.json", lambda s: s["trials"][0].update(trial_id="../small/trial_00000")
    ),
    "counters that are texts": edited_json(
        FILES["state"], lambda s: s["counters"].update(env_steps="1000")
    ),
    "counters that are no numbers": edited_json(
        FILES["state"], lambda s: s["counters"].update(env_steps=float("nan"))
    ),
}


@pytest.fixture
def refuses(command, tmp_path, monkeypatch):
    """Asserts that all commands refuse a run, with one message and without a trace."""
    executed = []
    monkeypatch.setattr(os, "putenv", lambda *arguments: executed.append(arguments))

    def check(run, good, what):
        before = snapshot(tmp_path)
        out = tmp_path / "out.json"
        for arguments in (
            ["evaluate", run, "--episodes", 1, "--out", out],
            ["evaluate", good, run, "--episodes", 1, "--out", out],
            ["crossplay", good, run, "--episodes", 1, "--out", out],
            ["record", run, "--episodes", 1, "--out", tmp_path / "film.gif"],
            ["export", run, "--out", tmp_path / "bundle"],
        ):
            code, stdout, stderr = command(*arguments)
            assert (code, stdout) == (2, ""), f"{what}: {arguments[0]}: {code} {stdout} {stderr}"
            assert stderr.count("error: ") == 1, what
            assert "Traceback" not in stderr, what
            if what not in HOSTILE:
                assert Path(run).name in stderr, what  # the place
        assert snapshot(tmp_path) == before, what
        assert not [marks for marks in executed if marks[0] == MARKER], what

    return check


def test_bar_corrupt_truncated_and_foreign_run_folders_are_refused(run_folder, tmp_path, refuses):
    checked, total = 0, len(DAMAGES) * len(FILES) - len(HARMLESS) + len(FOREIGN) + len(HOSTILE)
    asked = "a clear error, exit code 2, no code run, nothing written"
    record_bar("make test", "bad run folders", asked, f"not all of {total}", False)
    for damage_name, damage in DAMAGES.items():
        for file_name, file in FILES.items():
            if (damage_name, file_name) in HARMLESS:
                continue
            run = shutil.copytree(run_folder, tmp_path / f"damaged-{checked}")
            damage(run / file)
            refuses(run, run_folder, f"{file_name}: {damage_name}")
            shutil.rmtree(run)
            checked += 1
    for name, make in FOREIGN.items():
        run = tmp_path / f"foreign-{checked}"
        make(run)
        refuses(run, run_folder, name)
        checked += 1
    for name, damage in HOSTILE.items():
        run = shutil.copytree(run_folder, tmp_path / f"hostile-{checked}")
        damage(run, tmp_path / "harm")
        refuses(run, run_folder, name)
        checked += 1
    record_bar("make test", "bad run folders", asked, f"{checked} of {total}", checked == total)
    assert checked == total >= 75


def test_the_harm_would_be_done_if_it_were_called(tmp_path):
    os.system(f"touch {tmp_path / 'harm'}")
    assert (tmp_path / "harm").exists()


def test_pickles_beside_the_weights_are_never_read(run_folder, tmp_path, command, monkeypatch):
    run = shutil.copytree(run_folder, tmp_path / "run")
    executed = []
    monkeypatch.setattr(os, "putenv", lambda *arguments: executed.append(arguments))
    algorithm = run / "trial_00000/checkpoint_000001/algorithm"
    algorithm.mkdir()
    for name in ("algorithm_state.pkl", "class_and_ctor_args.pkl"):
        (algorithm / name).write_bytes(BOMB)

    assert command("evaluate", run, "--episodes", 1)[0] == 0
    assert not [marks for marks in executed if marks[0] == MARKER]
    with (algorithm / name).open("rb") as file:
        pickle.load(file)
    assert executed[-1] == (MARKER, "1")  # the bomb works


def test_weights_that_are_no_numbers_are_refused(run_folder, tmp_path, command):
    import numpy as np
    from safetensors.numpy import load_file, save_file

    run = shutil.copytree(run_folder, tmp_path / "run")
    path = run / FILES["weights"]
    weights = load_file(path)
    save_file({name: np.full_like(value, np.nan) for name, value in weights.items()}, path)

    code, _, stderr = command("evaluate", run, "--episodes", 1)

    assert code == 2
    assert "agent_1" in stderr
