from __future__ import annotations

import hashlib
import json
import shutil

import gymnasium as gym
import numpy as np
import onnx
import pytest
import torch
from ray.rllib.core.columns import Columns
from recurrent_net import SIZE, Recurrent
from safetensors.numpy import load_file
from small_disk import fill, needs_root, small_disk

from empo_rllib.acting.play import LiveEpisode
from empo_rllib.algorithms.setup import open_env
from empo_rllib.bundle import load_bundle
from empo_rllib.bundle.actions import ActionRule
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.errors import BundleError, ConfigError
from empo_rllib.experiment.run_folder import locate
from empo_rllib.exporting import check
from empo_rllib.exporting.check import record_observations
from empo_rllib.exporting.export import export
from empo_rllib.exporting.graph import PolicyGraph, export_onnx
from empo_rllib.results.load import load_policies

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts

OWN = "own_code:make"


@pytest.fixture(scope="module")
def exported(run_folder, tmp_path_factory):
    """A bundle of the untrained run; not to be changed."""
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    export(run_folder, folder)
    return folder


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("env", "algorithm", "policies", "kind"),
    [
        (None, "PPO", "independent", "categorical"),
        (None, "APPO", "shared", "categorical"),
        (None, "IMPALA", "shared", "categorical"),
        (None, "DQN", "shared", "q_values"),
        (None, "SAC", "shared", "categorical"),
        ({"id": "CartPole-v1"}, "DQN", "independent", "q_values"),
        ({"id": "Pendulum-v1"}, "PPO", "independent", "gaussian"),
        ({"id": "Pendulum-v1"}, "SAC", "independent", "squashed_gaussian"),
        ({"id": OWN}, "PPO", "shared", "categorical"),
        ({"id": OWN}, "DQN", "shared", "q_values"),
        ({"id": OWN, "kwargs": {"actions": "multi"}}, "PPO", "shared", "multi_categorical"),
        ({"id": OWN, "kwargs": {"actions": "box"}}, "PPO", "shared", "gaussian"),
        ({"id": OWN, "kwargs": {"actions": "free"}}, "PPO", "shared", "gaussian"),
        ({"id": OWN, "kwargs": {"actions": "start"}}, "DQN", "shared", "q_values"),
        ({"id": OWN, "kwargs": {"actions": "square"}}, "PPO", "shared", "multi_categorical"),
        ({"id": OWN, "kwargs": {"observations": "picture"}}, "PPO", "shared", "categorical"),
        ({"id": OWN, "kwargs": {"observations": "picture"}}, "DQN", "shared", "q_values"),
    ],
)
def test_a_bundle_acts_as_the_policies_it_is_made_of(
    own_code, tmp_path, write_run, env, algorithm, policies, kind
):
    sections = {"policies": policies} | ({"env": env} if env else {})
    run = write_run(tmp_path / "run", algorithm=algorithm, **sections)

    done = export(run, tmp_path / "bundle")

    bundle = load_bundle(tmp_path / "bundle", seed=0)
    assert {policy.rule.kind for policy in bundle.policies.values()} == {kind}
    for result in done.checks.values():
        assert result.observations == result.equal_actions == check.NUM_OBSERVATIONS
        assert result.max_output_difference < 1e-5
    original = load_policies(locate(run))
    env = env_of(run)
    observations, _ = env.reset(seed=99)
    for agent, seen in observations.items():
        (expected,) = original.act([{agent: seen}], greedy=True)
        actual, by_env = bundle.act(seen, agent), env.action_for_env(agent, expected[agent])
        np.testing.assert_allclose(actual, by_env, rtol=1e-5, atol=1e-6)
        for action in (actual, bundle.act(seen, agent, greedy=False)):
            assert env.env.action_space(agent).contains(action)


def env_of(run):
    return ParallelMultiAgentEnv(open_env(locate(run).config.env))


def test_probabilities_of_draws_are_those_of_the_original(exported, run_folder):
    original = load_policies(locate(run_folder))
    bundle = load_bundle(exported)
    (seen, *_) = record_observations(original, env_of(run_folder), seed=5)["agent_0"]

    output, _ = bundle.policies["agent_0"].outputs([seen.raw], "agent_0", {})

    batch = {key: torch.as_tensor(np.array([part])) for key, part in seen.adapted.items()}
    with torch.no_grad():
        logits = original.by_name["agent_0"].module.forward_inference({Columns.OBS: batch})
    np.testing.assert_allclose(output, logits[Columns.ACTION_DIST_INPUTS], atol=1e-6)


def test_the_description_says_what_people_need(exported, run_folder):
    description = json.loads((exported / "bundle.json").read_text())

    assert description["environment"] == {
        "id": "MultiGrid-Empty-5x5-v0",
        "num_agents": 2,
        "kwargs": {"max_steps": 20},
    }
    assert description["agents"] == {"agent_0": "agent_0", "agent_1": "agent_1"}
    policy = description["policies"]["agent_0"]
    names = ["left", "right", "forward", "pickup", "drop", "toggle", "done"]
    assert policy["action_names"] == names
    assert policy["observation_space"]["parts"]["image"]["high"] == [10, 5, 3]
    provenance = description["provenance"]
    assert (provenance["run"], provenance["checkpoint"]) == (run_folder.name, "checkpoint_000001")
    assert provenance["metrics"]["env_steps"] == 1000
    assert provenance["exported"]["packages"]["torch"].startswith("2.")
    assert provenance["exported"]["with"].keys() == {"onnx", "onnxruntime", "onnxscript"}
    check_result = description["check"]["agent_1"]
    assert check_result["equal_actions"] == check_result["observations"] == 1000


def test_a_bundle_tells_nothing_of_the_machine(exported, run_folder):
    networks = list(exported.glob("policies/*.onnx"))
    assert networks
    for path in (exported / "bundle.json", *networks):
        content = path.read_bytes()
        for private in (str(run_folder.parent), "site-packages", __file__.partition("/tests")[0]):
            assert private.encode() not in content, path


def test_the_files_are_those_of_the_description(exported, run_folder):
    description = json.loads((exported / "bundle.json").read_text())

    assert entries(exported) == ["README.md", "bundle.json", "empo_bundle", "policies"]
    assert entries(exported / "policies") == [
        *("agent_0.onnx", "agent_0.safetensors", "agent_1.onnx", "agent_1.safetensors")
    ]
    for name, entry in description["files"].items():
        content = (exported / name).read_bytes()
        assert entry == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    weights = load_file(exported / "policies" / "agent_1.safetensors")
    (original,) = run_folder.glob("*/*/policies/agent_1.safetensors")
    assert weights.keys() == load_file(original).keys()


def test_the_network_takes_batches_of_any_size_and_has_names(exported):
    graph = onnx.load(exported / "policies" / "agent_0.onnx").graph

    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {
        "observation.direction": ["batch"],
        "observation.image": ["batch", 7, 7, 3],
        "output": ["batch", 7],
    }


def test_the_readme_has_a_script_that_runs(exported, tmp_path, monkeypatch, capsys):
    first, second = (
        block.partition("\n```")[0]
        for block in (exported / "README.md").read_text().split("```python\n")[1:]
    )
    monkeypatch.chdir(exported)
    monkeypatch.syspath_prepend(exported)
    monkeypatch.setattr("sys.dont_write_bytecode", True)

    exec(first, {})
    number, name = capsys.readouterr().out.split()
    assert load_bundle(exported).action_name(int(number), "agent_0") == name
    exec(second, played := {})
    assert not played["env"].agents


def test_the_same_run_gives_the_same_networks(exported, run_folder, tmp_path):
    told = []
    export(run_folder, tmp_path / "again", seed=7, tell=told.append)
    assert told == [
        f"{verb} policy {number} of 2" for verb in ("Exporting", "Checking") for number in (1, 2)
    ]
    first, again = exported / "policies", tmp_path / "again" / "policies"
    assert entries(again) == entries(first) != []
    for name in entries(first):
        assert (again / name).read_bytes() == (first / name).read_bytes()


def test_a_users_own_network_is_exported(own_code, tmp_path, write_run):
    run = write_run(
        tmp_path / "run", env={"id": OWN, "num_agents": 1}, model={"class": "own_code:Plain"}
    )
    assert export(run, tmp_path / "bundle").checks["agent_0"].equal_actions == 100


@pytest.mark.parametrize(
    ("network", "kind", "can_draw"),
    [("Decides", "actions", False), ("Explores", "categorical", False)],
)
def test_a_network_that_draws_in_its_own_way_is_exported_greedy_only(
    own_code, tmp_path, write_run, network, kind, can_draw
):
    run = write_run(
        tmp_path / "run", env={"id": OWN, "num_agents": 1}, model={"class": f"own_code:{network}"}
    )

    export(run, tmp_path / "bundle")

    rule = load_bundle(tmp_path / "bundle").policies["agent_0"].rule
    assert (rule.kind, rule.can_draw) == (kind, can_draw)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("TakesLen", r"cannot export TakesLen to ONNX: .*use `tensor.shape\[0\]`"),
        ("Branches", "cannot export Branches to ONNX"),
        ("Noisy", "of 100 actions are the same in torch, onnxruntime and the original"),
    ],
)
def test_what_cannot_be_exported_is_told_and_leaves_nothing(
    own_code, tmp_path, write_run, network, message
):
    model = {"class": f"own_code:{network}"}
    run = write_run(tmp_path / "run", env={"id": OWN, "num_agents": 1}, model=model)

    with pytest.raises(BundleError, match=message):
        export(run, tmp_path / "bundle")

    assert entries(tmp_path) == ["code", "run"]


def test_a_memory_goes_in_and_out_step_by_step():
    module = Recurrent(
        observation_space=gym.spaces.Box(-1, 1, (3,)),
        action_space=gym.spaces.Discrete(4),
        model_config={},
    )
    graph = PolicyGraph(module, module.observation_space)
    part = {"name": "observation", "path": [], "dtype": "float32", "shape": [3]}
    from empo_rllib.bundle.policy import BundlePolicy

    policy = BundlePolicy(
        {
            "inputs": [part],
            "agent_ids": [],
            "memory": [{"name": "h", "shape": [SIZE]}],
            "action": {"kind": "categorical", "size": 4, "can_draw": True},
            "action_names": [],
        },
        "policies.walker",
    )
    policy.open(export_onnx(graph, "walker"), "walker.onnx")
    seen = np.random.default_rng(0).normal(size=(5, 20, 3)).astype(np.float32)

    memory, outputs = {}, []
    for t in range(20):
        output, memory = policy.outputs(list(seen[:, t]), "agent_0", memory)
        outputs.append(output)

    whole = {Columns.OBS: torch.from_numpy(seen), Columns.STATE_IN: {"h": torch.zeros(5, SIZE)}}
    with torch.no_grad():
        expected = module.forward_inference(whole)[Columns.ACTION_DIST_INPUTS]
    np.testing.assert_allclose(np.stack(outputs, 1), expected, atol=1e-5)


@pytest.mark.parametrize(
    "model", [{"class": "recurrent_net:Recurrent", "max_seq_len": 10}, {"memory": "gru"}]
)
def test_a_recurrent_run_is_exported_and_acts_as_it_is_evaluated(
    tmp_path, write_run, monkeypatch, model
):
    monkeypatch.setattr(check, "NUM_OBSERVATIONS", 100)
    run = write_run(tmp_path / "run", policies="shared", model=model)
    export(run, tmp_path / "bundle")

    trained, bundle = locate(run), load_bundle(tmp_path / "bundle")
    policies, env = load_policies(trained), env_of(run)
    for seed in range(2):
        episode = LiveEpisode(env, seed)
        bundle.reset()
        for _ in range(20):
            (expected,) = policies.act([episode.observations], True, [episode.memories])
            seen = episode.observations
            assert {agent: bundle.act(seen[agent], agent) for agent in seen} == expected
            episode.step({agent: env.action_spaces[agent].sample() for agent in seen})
            if episode.over:
                break


@pytest.mark.parametrize("content", ['{"sessions": ["x"]}', "[" * 100_000, '{"sessions": 3}', "{"])
def test_damaged_provenance_is_told(run_folder, tmp_path, content):
    run = shutil.copytree(run_folder, tmp_path / "run")
    (run / "provenance.json").write_text(content)
    with pytest.raises(BundleError, match=r"provenance\.json: damaged"):
        export(run, tmp_path / "bundle")
    assert entries(tmp_path) == ["run"]


def test_a_policy_that_was_never_seen_is_not_exported_unchecked():
    with pytest.raises(BundleError, match="policy 'all': none of its agents appeared in 5,000"):
        check.check_policy("all", [], None, None, None, None)


def test_a_bundle_is_replaced_only_when_asked_for(exported, run_folder, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "bundle")
    (folder / "README.md").write_text("old")

    with pytest.raises(BundleError, match="Replace it with --overwrite"):
        export(run_folder, folder)
    assert (folder / "README.md").read_text() == "old"

    export(run_folder, folder, overwrite=True)
    assert (folder / "README.md").read_text() != "old"
    assert entries(tmp_path) == ["bundle"]


def test_an_empty_folder_is_filled(run_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "NUM_OBSERVATIONS", 10)
    export(run_folder, tmp_path)
    assert load_bundle(tmp_path).agents


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda out: out.write_text("years of work"), "exists and is no folder"),
        (lambda out: out.symlink_to(out.parent), "exists and is no folder"),
        (lambda out: (out.mkdir(), (out / "thesis.tex").write_text("x")), "not a bundle"),
        (lambda out: (out.mkdir(), (out / "bundle.json").write_text("{}")), "not replaced: "),
    ],
)
def test_anything_else_is_never_replaced(run_folder, tmp_path, prepare, message):
    out = tmp_path / "bundle"
    prepare(out)

    with pytest.raises(BundleError, match=message):
        export(run_folder, out, overwrite=True)

    assert entries(tmp_path) == ["bundle"]


def test_a_bundle_with_somebodys_own_files_is_not_replaced(exported, run_folder, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "bundle")
    (folder / "notes.txt").write_text("years of work")
    with pytest.raises(BundleError, match=r"holds notes\.txt, which no export has written"):
        export(run_folder, folder, overwrite=True)


def test_a_folder_that_is_not_there_is_told(run_folder, tmp_path):
    with pytest.raises(ConfigError, match="there is no folder"):
        export(run_folder, tmp_path / "no" / "bundle")


def test_every_kind_of_action_is_known_to_the_loader(exported):
    from empo_rllib.bundle.actions import KINDS

    assert all(hasattr(ActionRule, f"_{kind}") for kind in KINDS)


@needs_root
@pytest.mark.parametrize("free_kb", [0, 4, 8, 16, 32, 64, 96, 128])
def test_a_full_disk_is_one_message_and_leaves_nothing(run_folder, tmp_path, free_kb):
    with small_disk(tmp_path / "disk") as disk:
        fill(disk, free_kb)
        with pytest.raises(
            ConfigError, match="cannot be written: No space left on device"
        ) as raised:
            export(run_folder, disk / "bundle")
        assert "\n" not in str(raised.value)
        assert entries(disk) == ["filler"]


@needs_root
def test_a_bundle_stays_where_the_disk_is_too_full_for_its_successor(
    exported, run_folder, tmp_path
):
    with small_disk(tmp_path / "disk", size_kb=4096) as disk:
        shutil.copytree(exported, disk / "bundle")
        fill(disk, free_kb=64)
        with pytest.raises(ConfigError, match="No space left on device"):
            export(run_folder, disk / "bundle", overwrite=True)
        assert entries(disk) == ["bundle", "filler"]
        load_bundle(disk / "bundle")
