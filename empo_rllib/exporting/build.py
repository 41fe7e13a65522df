"""The content of a bundle, made of a checkpoint and compared with it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pettingzoo import ParallelEnv
from ray.rllib.utils.spaces.space_utils import batch
from safetensors.numpy import load_file

import empo_rllib.bundle
from empo_rllib.acting.memory import step_inputs
from empo_rllib.acting.policies import ActingPolicy
from empo_rllib.algorithms.policies import Policy, adapter_options
from empo_rllib.algorithms.setup import open_checked_env, set_up_trial
from empo_rllib.bundle import load_bundle
from empo_rllib.bundle.files import DESCRIPTION_FILE
from empo_rllib.console import Tell
from empo_rllib.envs.action_names import action_names
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.experiment.checkpoints import acting_weights, load_weights
from empo_rllib.experiment.run_folder import TrainedTrial
from empo_rllib.exporting.check import (
    PolicyCheck,
    Seen,
    check_policy,
    record_observations,
)
from empo_rllib.exporting.describe import describe_bundle, describe_provenance, render_readme
from empo_rllib.exporting.graph import PolicyGraph, export_onnx
from empo_rllib.exporting.rules import action_rule
from empo_rllib.exporting.spaces import space_data
from empo_rllib.files import write_whole
from empo_rllib.results.load import load_policies
from empo_rllib.rl_modules.encoders import build_flattener

# What the copy of `empo_rllib.bundle` in a bundle is called: two packages of one name would hide
# each other.
COPIED_PACKAGE = "empo_bundle"
_EXAMPLES = 32


def write_bundle(
    trained: TrainedTrial, folder: Path, seed: int, tell: Tell
) -> dict[str, PolicyCheck]:
    """Writes a bundle into an empty folder and compares it with its checkpoint.

    Args:
        trained: The checkpoint.
        folder: Where to; what is there after an error is to be thrown away.
        seed: Of the episodes that are played for the comparison.
        tell: Is told which policy is exported or checked.

    Returns:
        What it came to, by policy.

    Raises:
        BundleError: a policy cannot be exported, or acts otherwise when it is; the run's provenance
            is damaged.
        CheckpointError: the checkpoint is damaged.
        ConfigError: what the experiment needs is gone.
    """
    provenance = describe_provenance(trained)  # first: all else takes long
    policies = load_policies(trained)
    checked = open_checked_env(trained.config.env)
    env = checked.env
    try:
        recorded = record_observations(policies, checked, seed)
        (folder / "policies").mkdir()
        (folder / COPIED_PACKAGE).mkdir()
        for source in Path(empo_rllib.bundle.__file__).parent.glob("*.py"):
            shutil.copy(source, folder / COPIED_PACKAGE)
        exports = _PolicyExports(trained, env, folder / "policies")
        data = {}
        for number, (name, seen) in enumerate(recorded.items(), start=1):
            tell(f"Exporting policy {number} of {len(recorded)}")
            data[name] = exports.write(name, seen)
    finally:
        env.close()
    description = describe_bundle(trained, policies.of_agent, data, provenance)
    description["files"] = _fingerprints(folder)
    _write_json(folder, description)
    bundle = load_bundle(folder)
    checks = {}
    for number, (name, seen) in enumerate(recorded.items(), start=1):
        tell(f"Checking policy {number} of {len(recorded)}")
        checks[name] = check_policy(name, seen, policies, checked, exports.graphs[name], bundle)
    description["check"] = {name: asdict(check) for name, check in checks.items()}
    _write_json(folder, description)
    write_whole(folder / "README.md", render_readme(description))
    return checks


class _PolicyExports:
    """Writes the files of policies.

    Attributes:
        graphs: what was exported, with the weights of the bundle.
    """

    def __init__(self, trained: TrainedTrial, env: ParallelEnv, folder: Path) -> None:
        self.graphs: dict[str, PolicyGraph] = {}
        self._trained = trained
        self._specs = set_up_trial(trained.config).policies
        # With networks of their own: the bundle's are not those that it is compared with.
        self._policies = load_policies(trained).by_name
        self._env = env
        self._folder = folder

    def write(self, name: str, seen: Sequence[Seen]) -> dict[str, Any]:
        """Writes one policy's weights and network; returns its part of `bundle.json`."""
        weights = self._folder / f"{name}.safetensors"
        shutil.copyfile(self._trained.checkpoint / "policies" / weights.name, weights)
        spec, policy = self._specs[name], self._policies[name]
        assert isinstance(policy, ActingPolicy)
        own = acting_weights(policy.module, load_file(str(weights)))
        load_weights(policy.module, own, str(weights))
        agent_ids = list(self._env.possible_agents) if spec.agent_id_input else []
        space = self._env.observation_space(spec.agents[0])
        flatten = self._flattener(spec)
        graph = PolicyGraph(policy.module, space, len(agent_ids), flatten)
        self.graphs[name] = graph
        write_whole(self._folder / f"{name}.onnx", export_onnx(graph, name))
        return {
            "observation_space": space_data(space),
            "action_space": space_data(self._env.action_space(spec.agents[0])),
            "inputs": [
                {"name": i.name, "path": list(i.path), "dtype": i.dtype, "shape": list(i.shape)}
                for i in graph.inputs
            ],
            "agent_ids": agent_ids,
            "memory": [{"name": n, "shape": list(m.shape)} for n, m in graph.memory.items()],
            "action": self._rule(policy, spec, seen),
            "action_names": action_names(self._env, spec.agents[0]),
        }

    def _flattener(self, spec: Policy) -> Any:
        options = adapter_options(self._trained.config, self._specs)
        if not options.pop("flat"):
            return None
        structured = ParallelMultiAgentEnv(self._env, **options)
        return build_flattener(structured.observation_spaces[spec.agents[0]])

    def _rule(self, policy: ActingPolicy, spec: Policy, seen: Sequence[Seen]) -> dict[str, Any]:
        adapted = [part.adapted for part in seen[:_EXAMPLES]] or [spec.observation_space.sample()]
        return action_rule(
            policy.module,
            step_inputs(policy.module, batch(adapted), [{} for _ in adapted]),
            spec.action_space,
            self._env.action_space(spec.agents[0]),
            normalize_actions=policy.normalize_actions,
            env_steps=policy.env_steps,
        )


def _fingerprints(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns size and SHA-256 of the policies' files."""
    return {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted((folder / "policies").iterdir())
    }


def _write_json(folder: Path, description: Mapping[str, Any]) -> None:
    text = json.dumps(description, indent=2, allow_nan=False)
    write_whole(folder / DESCRIPTION_FILE, text + "\n")
