"""Small bundles, made without Ray and torch."""

from __future__ import annotations

import hashlib
import json

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper
from safetensors.numpy import save_file

CATEGORICAL = {"kind": "categorical", "can_draw": True, "size": 3}
AGENTS = ("left", "right")


def make_model(weights, memory=False, agent_ids=0):
    """Observation [B, 2] (with the agent's id) times `weights`, plus the sum of all before."""
    inputs = [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", 2])]
    outputs = [
        helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", len(weights.T)])
    ]
    seen, nodes = "observation", []
    if agent_ids:
        shape = ["batch", agent_ids]
        inputs.append(helper.make_tensor_value_info("agent_id", TensorProto.FLOAT, shape))
        nodes.append(helper.make_node("Concat", [seen, "agent_id"], ["joined"], axis=1))
        seen = "joined"
    if memory:
        inputs.append(helper.make_tensor_value_info("memory_in.h", TensorProto.FLOAT, ["batch", 2]))
        outputs.append(
            helper.make_tensor_value_info("memory_out.h", TensorProto.FLOAT, ["batch", 2])
        )
        nodes.append(helper.make_node("Add", [seen, "memory_in.h"], ["memory_out.h"]))
        seen = "memory_out.h"
    nodes.append(helper.make_node("MatMul", [seen, "weights"], ["output"]))
    tensors = [numpy_helper.from_array(weights.astype(np.float32), "weights")]
    graph = helper.make_graph(nodes, "policy", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    checker.check_model(model)
    return model


def describe(action=CATEGORICAL, **policy):
    """What `bundle.json` says of a policy whose observations are two numbers."""
    part = {"name": "observation", "path": [], "dtype": "float32", "shape": [2]}
    return {
        "inputs": [part],
        "agent_ids": [],
        "memory": [],
        "action": action,
        "action_names": [],
        **policy,
    }


def write(folder, model=None, policy=None, **changes):
    weights = np.eye(2, 3)
    files = {
        "policies/walker.onnx": (model or make_model(weights)).SerializeToString(),
        "policies/walker.safetensors": b"",
    }
    (folder / "policies").mkdir(parents=True)
    save_file({"weights": weights}, folder / "policies/walker.safetensors")
    files["policies/walker.safetensors"] = (folder / "policies/walker.safetensors").read_bytes()
    (folder / "policies/walker.onnx").write_bytes(files["policies/walker.onnx"])
    description = {
        "kind": "empo_rllib bundle",
        "format": 1,
        "environment": {"id": "a corridor"},
        "agents": dict.fromkeys(AGENTS, "walker"),
        "policies": {"walker": policy or describe()},
        "files": {name: fingerprint(content) for name, content in files.items()},
        **changes,
    }
    (folder / "bundle.json").write_text(json.dumps(description))
    return folder


def fingerprint(content):
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def replace(folder, name, content):
    """Puts a file in the place of another one, as somebody would who means harm."""
    (folder / name).write_bytes(content)
    path = folder / "bundle.json"
    description = json.loads(path.read_text())
    description["files"][name] = fingerprint(content)
    path.write_text(json.dumps(description))
