"""`python -m empo_rllib export`, in this process."""

from __future__ import annotations

import shutil

import pytest

from empo_rllib.bundle import load_bundle
from empo_rllib.exporting import check

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts


@pytest.fixture(autouse=True)
def _few_observations(monkeypatch):
    monkeypatch.setattr(check, "NUM_OBSERVATIONS", 20)


def test_export_writes_the_bundle_and_says_so(command, run_folder, tmp_path):
    out = tmp_path / "bundle"

    code, text, err = command("export", run_folder, "--out", out)

    assert code == 0
    assert err.startswith("Exporting /")
    assert text.splitlines() == [
        "policy agent_0: 20 of 20 actions equal",
        "policy agent_1: 20 of 20 actions equal",
        f"{out}: README.md there says how to use it",
    ]
    assert list(load_bundle(out).agents) == ["agent_0", "agent_1"]

    code, text, err = command("export", run_folder, "--out", out)
    assert (code, text) == (2, "")
    assert "Replace it with --overwrite" in err
    assert command("export", run_folder, "--out", out, "--overwrite")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "{run}"], "--out"),
        (["export", "{tmp}/nowhere", "--out", "{tmp}/bundle"], "no such folder"),
        (["export", "{tmp}", "--out", "{tmp}/bundle"], "not a run folder"),
        (["export", "{run}", "--out", "{tmp}/no/bundle"], "there is no folder"),
        (["export", "{run}", "--out", "{run}", "--overwrite"], "not replaced"),
        (["export", "{run}", "--out", "{tmp}/bundle", "--seed", "-1"], "seed = -1"),
        (["evaluate", "{bundle}"], "not a run folder"),
        (["export", "{bundle}", "--out", "{tmp}/bundle"], "not a run folder"),
    ],
)
def test_a_users_mistake_is_one_message_and_exit_code_2(
    command, run_folder, tmp_path, tmp_path_factory, arguments, message
):
    bundle = tmp_path_factory.mktemp("a_bundle")
    (bundle / "bundle.json").write_text("{}")
    names = {"run": run_folder, "tmp": tmp_path, "bundle": bundle}

    code, out, err = command(*(a.format(**names) for a in arguments))

    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_a_damaged_checkpoint_leaves_nothing(command, run_folder, tmp_path):
    run = shutil.copytree(run_folder, tmp_path / "run")
    weights = next(run.glob("*/*/policies/agent_1.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])

    code, out, err = command("export", run, "--out", tmp_path / "bundle")

    assert (code, out) == (2, "")
    assert "damaged weights" in err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
