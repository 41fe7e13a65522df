"""Bundles that somebody damaged, made up, or made to do harm: told, and nothing else happens."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bars import record_bar
from onnx import TensorProto, external_data_helper, helper
from small_bundles import describe, make_model, replace

from empo_rllib.bundle import BundleError, load_bundle
from empo_rllib.bundle.network import check_model
from empo_rllib.errors import EmpoError

ROOT = Path(__file__).parents[3]
ONNX, WEIGHTS = "policies/walker.onnx", "policies/walker.safetensors"


class Harm:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "harm was done")


def edited(*keys, value):
    """Puts a value somewhere in `bundle.json`."""

    def damage(folder):
        path = folder / "bundle.json"
        description = part = json.loads(path.read_text())
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = value
        path.write_text(json.dumps(description))

    return damage


def nested(levels):
    return [nested(levels - 1)] if levels else []


def text(content):
    return lambda folder: (folder / "bundle.json").write_bytes(content)


def changed(name, change):
    """Changes a file, but not what `bundle.json` says of it."""
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def model(change):
    """Changes the ONNX model, with a fingerprint that fits."""

    def damage(folder):
        proto = make_model(np.eye(2, 3))
        change(proto)
        replace(folder, ONNX, proto.SerializeToString())

    return damage


def pickled(name, fitting):
    def damage(folder):
        content = pickle.dumps(Harm(folder.parent / "harm"))
        if fitting:
            replace(folder, name, content)
        else:
            (folder / name).write_bytes(content)

    return damage


def linked(name):
    def damage(folder):
        shutil.move(folder / name, folder.parent / "elsewhere")
        (folder / name).symlink_to(folder.parent / "elsewhere")

    return damage


def pipe(folder):
    (folder / ONNX).unlink()
    os.mkfifo(folder / ONNX)


def external_data(proto):
    external_data_helper.set_external_data(proto.graph.initializer[0], location="/etc/hostname")
    proto.graph.initializer[0].ClearField("raw_data")


def hidden_external_data(proto):
    """As an attribute of a node in a branch of another one."""
    branch = helper.make_graph([helper.make_node("Constant", [], ["c"])], "branch", [], [])
    tensor = TensorProto(data_location=TensorProto.EXTERNAL)
    branch.node[0].attribute.append(helper.make_attribute("value", tensor))
    proto.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=branch))


def foreign_operator(proto):
    proto.graph.node[0].domain = "com.microsoft"
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def runtime_settings(proto):
    proto.metadata_props.add(key="ort_config", value="{}")


def other_input(proto):
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3


def name_without_encoding(proto):
    proto.graph.input[0].name = "WHITHER"
    proto.graph.node[0].input[0] = "WHITHER"


POLICY = ("policies", "walker")
DAMAGES = {
    # Nothing of the kind.
    "no-description": (lambda folder: (folder / "bundle.json").unlink(), "not a bundle"),
    "no-json": (text(b"\x80\x04a pickle or so"), "damaged"),
    "empty": (text(b""), "damaged"),
    "cut-off": (changed("bundle.json", lambda content: content[:200]), "damaged"),
    "nested-too-deeply": (text(b"[" * 100_000), "damaged"),
    "nested-and-printed": (edited("agents", value=nested(900)), "more than 50 levels"),
    "no-number": (text(b'{"kind": NaN}'), "NaN is no number"),
    "huge-number": (text(b'{"kind": ' + b"9" * 5000 + b"}"), "damaged"),
    "huge-description": (text(b" " * (8 * 2**20 + 1)), "bytes are more than"),
    "a-list": (text(b"[]"), "not the description of a bundle"),
    "another-kind": (edited("kind", value="model"), "not the description of a bundle"),
    "another-format": (edited("format", value=2), "format 2; this version reads format 1"),
    "description-is-a-link": (linked("bundle.json"), "cannot be read"),
    # Files that are not what the description says.
    "no-network": (lambda folder: (folder / ONNX).unlink(), "cannot be read"),
    "no-weights": (lambda folder: (folder / WEIGHTS).unlink(), "cannot be read"),
    "short-network": (changed(ONNX, lambda content: content[:-9]), "damaged: "),
    "long-network": (changed(ONNX, lambda content: content + b"\0"), "bytes are more than"),
    "changed-network": (changed(ONNX, lambda content: content[:-1] + b"\1"), "SHA-256"),
    "changed-weights": (changed(WEIGHTS, lambda content: content[:-1] + b"\1"), "SHA-256"),
    "network-is-a-link": (linked(ONNX), "cannot be read"),
    "folder-is-a-link": (linked("policies"), "policies: a link"),
    "network-is-a-pipe": (pipe, "not a plain file"),
    "unlisted-file": (edited("files", value={}), "files.policies/walker.safetensors = nothing"),
    "no-size": (edited("files", ONNX, "bytes", value="9"), "its size, '9'"),
    "absurd-size": (edited("files", ONNX, "bytes", value=10**15), "its size"),
    "negative-size": (edited("files", ONNX, "bytes", value=-1), "its size"),
    # Names that lead elsewhere.
    "path-as-name": (
        edited("policies", value={"../../walker": describe()}),
        "policies = '../../walker' must be a plain name",
    ),
    "agent-of-nobody": (edited("agents", "left", value="nobody"), "must be one of walker"),
    # Values of other kinds and sizes.
    "no-agents": (edited("agents", value=None), "agents = nothing must be a mapping"),
    "no-policy": (edited(*POLICY, value=[]), "policies.walker = [] must be a mapping"),
    "no-inputs": (edited(*POLICY, "inputs", value="all"), "must be a list"),
    "unknown-dtype": (edited(*POLICY, "inputs", 0, "dtype", value="object"), "must be one of bool"),
    "absurd-shape": (edited(*POLICY, "inputs", 0, "shape", value=[2**20] * 3), "elements"),
    "negative-shape": (edited(*POLICY, "inputs", 0, "shape", value=[-2]), "must be sizes"),
    "many-dimensions": (edited(*POLICY, "inputs", 0, "shape", value=[1] * 99), "elements"),
    "absurd-list": (edited(*POLICY, "agent_ids", value=["a"] * 20_000), "20,000 entries"),
    "odd-path": (edited(*POLICY, "inputs", 0, "path", value=[{}]), "must be keys"),
    "method-as-kind": (edited(*POLICY, "action", "kind", value="_fitting_size"), "must be one of"),
    "no-epsilon": (
        edited(*POLICY, "action", value={"kind": "q_values", "can_draw": True}),
        "epsilon = nothing must be a number",
    ),
    "huge-bound": (
        edited(
            *(*POLICY, "action"),
            value={
                "kind": "gaussian",
                "can_draw": True,
                "size": 2,
                "box": {"shape": [1], "dtype": "float32", "low": [-(10**400)], "high": [1]},
            },
        ),
        "must be a number of at most",
    ),
    "other-size": (edited(*POLICY, "action", "size", value=4), "returns {'output': (3,)}"),
    "too-few-names": (edited(*POLICY, "action_names", value=["stay"]), "must name every action"),
    "agent-that-no-policy-knows": (
        edited(*POLICY, "agent_ids", value=["left"]),
        "does not know 'right'",
    ),
    # Networks that are none, or would do more than compute.
    "pickle-as-network": (pickled(ONNX, fitting=True), "not an ONNX model"),
    "pickle-in-the-networks-place": (pickled(ONNX, fitting=False), "policies/walker.onnx"),
    "pickle-in-the-weights-place": (pickled(WEIGHTS, fitting=False), "walker.safetensors"),
    "pickle-as-description": (pickled("bundle.json", fitting=False), "damaged"),
    "empty-network": (lambda folder: replace(folder, ONNX, b""), "no network that can run"),
    "format-of-the-runtime": (lambda folder: replace(folder, ONNX, b"\0\0\0\0ORTM" * 9), "ONNX"),
    "weights-in-another-file": (model(external_data), "refused, because it has weights in another"),
    "weights-hidden-in-a-branch": (model(hidden_external_data), "weights in another file"),
    "foreign-operator": (model(foreign_operator), "refused, because it has operators of b'com.mic"),
    "settings-of-the-runtime": (model(runtime_settings), "refused, because it has metadata"),
    "name-without-encoding": (
        lambda folder: (
            model(name_without_encoding)(folder),
            replace(folder, ONNX, (folder / ONNX).read_bytes().replace(b"WHITHER", b"\xff" * 7)),
        ),
        "no network that can run",
    ),
    "other-input": (model(other_input), "no network that can run"),
}


def snapshot(folder):
    return {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in folder.rglob("*")}


def inspect(folder):
    """What somebody does who got a bundle."""
    command = [sys.executable, "-m", "empo_rllib.bundle", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command, cwd=folder.parent, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", DAMAGES)
def test_it_is_refused_with_a_message_and_nothing_is_written(write_bundle, name):
    damage, message = DAMAGES[name]
    folder = write_bundle()
    damage(folder)
    before = snapshot(folder.parent)

    with pytest.raises(BundleError) as caught:
        load_bundle(folder)

    assert message in str(caught.value)
    assert len(str(caught.value)) < 2000
    assert snapshot(folder.parent) == before


@pytest.mark.parametrize("content", [b"a file", None])
def test_what_is_no_folder_is_refused(tmp_path, content):
    if content:
        (tmp_path / "bundle").write_bytes(content)
    with pytest.raises(BundleError, match="no such folder"):
        load_bundle(tmp_path / "bundle")


def test_bar_bad_bundles_are_a_clear_error_with_exit_code_2_and_nothing_else(write_bundle):
    refused = []
    for name, (damage, message) in DAMAGES.items():
        folder = write_bundle()
        damage(folder)
        before = snapshot(folder.parent)

        answer = inspect(folder)

        if (
            (answer.returncode, answer.stdout) == (2, "")
            and answer.stderr.startswith("error: ")
            and message in answer.stderr
            and len(answer.stderr.splitlines()) == 1
            and snapshot(folder.parent) == before
        ):
            refused.append(name)
        shutil.rmtree(folder.parent)
        folder.parent.mkdir()
    asked = "a clear error, exit code 2, no code run, nothing written"
    told = f"{len(refused)} of {len(DAMAGES)}"
    record_bar("make test", "bad bundles", asked, told, len(refused) == len(DAMAGES))
    assert refused == list(DAMAGES)


def test_a_model_with_random_errors_is_refused_or_works(write_bundle):
    folder, rng = write_bundle(), np.random.default_rng(0)
    good = (folder / ONNX).read_bytes()
    outcomes = {True: 0, False: 0}
    for _ in range(300):
        bad = bytearray(good)
        for place in rng.integers(len(bad), size=rng.integers(1, 4)):
            bad[place] = rng.integers(256)
        replace(folder, ONNX, bytes(bad))
        try:
            load_bundle(folder).act([0, 1], "left")
            outcomes[True] += 1
        except BundleError:
            outcomes[False] += 1
    assert all(outcomes.values())  # some were of no account, the others told


def test_the_harm_would_be_done_if_anything_unpickled(tmp_path):
    pickle.loads(pickle.dumps(Harm(tmp_path / "harm")))
    assert (tmp_path / "harm").read_text() == "harm was done"


def test_a_good_bundle_is_described(write_bundle):
    answer = inspect(write_bundle(policy=describe(action_names=["stay", "go", "\x1b[2J"])))

    assert (answer.returncode, answer.stderr) == (0, "")
    assert "a corridor" in answer.stdout
    assert "stay, go, ?[2J" in answer.stdout  # nothing steers the terminal


def test_the_command_tells_how_it_is_used():
    answer = inspect(Path("--help"))
    assert (answer.returncode, answer.stdout) == (0, "")
    assert answer.stderr.startswith("usage: python -m empo_rllib.bundle FOLDER")


def test_files_that_are_not_listed_are_left_alone(write_bundle):
    folder = write_bundle()
    (folder / "numpy.py").write_text("raise SystemExit('code of the bundle was run')")
    (folder / "policies" / "sitecustomize.py").write_text("raise SystemExit('here too')")
    assert load_bundle(folder).act([0, 1], "left") == 1


def test_a_bundles_error_is_one_of_the_package():
    assert issubclass(BundleError, EmpoError)
    assert BundleError.exit_code == 2


@pytest.mark.parametrize(
    "content",
    [
        b"\x3a\xff\xff\xff\xff\x7f",  # a graph of 32 GiB
        b"\x3a" + b"\x80" * 11,  # a number without an end
        b"\xf2\xff\xff\xff\xff\x01\x00",  # a tag of more than 32 bits
        b"\x0b",  # a group
        b"\x38\x01",  # a graph that is a number
        b"\x3a\x04\x0a\x02\x3a",  # cut off inside
    ],
)
def test_a_message_that_is_none_is_refused(content):
    with pytest.raises(BundleError, match="not an ONNX model"):
        check_model(content, "here")


def test_a_tensor_of_another_file_is_found_wherever_it_can_be():
    tensor = b"\x70\x01"  # data_location = EXTERNAL

    def field(number, content):
        tag = number << 3 | 2
        head = bytes([tag]) if tag < 128 else bytes([tag & 127 | 128, tag >> 7])
        return head + bytes([len(content)]) + content

    def in_graph(content):
        return field(7, content)

    def in_node(content):
        return in_graph(field(1, field(5, content)))

    for model in (
        in_graph(field(5, tensor)),
        in_graph(field(15, field(1, tensor))),
        in_graph(field(15, field(2, tensor))),
        *(in_node(field(number, tensor)) for number in (5, 10)),
        *(in_node(field(number, field(5, tensor))) for number in (6, 11)),
        *(in_node(field(number, field(1, tensor))) for number in (22, 23)),
        field(20, field(1, field(5, tensor))),
        field(25, field(7, field(5, field(5, tensor)))),
        field(25, field(11, field(5, tensor))),
    ):
        with pytest.raises(BundleError, match="weights in another file"):
            check_model(model, "here")
