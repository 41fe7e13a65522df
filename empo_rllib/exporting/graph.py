"""A policy as one torch module, from an environment's observations to the output that decides."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.algorithms.dqn.default_dqn_rl_module import QF_PREDS, DefaultDQNRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModule
from torch import Tensor, nn

from empo_rllib.bundle.policy import AGENT_ID, OUTPUT, memory_in, memory_out
from empo_rllib.envs.adapting import extended_by_id
from empo_rllib.errors import BundleError
from empo_rllib.exporting.spaces import nest, observation_inputs
from empo_rllib.rl_modules.encoders import Encoder

# More than one, which torch would take for a constant.
_EXAMPLES = 3
_NOISY_LOGGERS = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")


class PolicyGraph(nn.Module):
    """An RLModule with all that is before it, on tensors alone.

    `forward` takes the tensors of `input_names` in their order, each with a leading dimension B:
    the parts of an observation as the environment returns it, `agent_id`, and the memory. It
    returns those of `output_names`: logits, Q-values or whatever the policy's `ActionRule` is for,
    and the next memory.

    Args:
        module: The policy's network.
        space: Observations of the environment.
        num_agent_ids: How many agents the one-hot input `agent_id` tells apart; 0: no such input.
        flatten: What turns the observation, with the agent's id, into the vector that the network
            reads; None: the network reads it as it is.
    """

    def __init__(
        self,
        module: RLModule,
        space: gym.Space,
        num_agent_ids: int = 0,
        flatten: Encoder | None = None,
    ) -> None:
        super().__init__()
        self.module = module.eval()
        self.flatten = flatten
        self.space = space
        self.num_agent_ids = num_agent_ids
        self.inputs = observation_inputs(space)
        self.memory = _initial_memory(module)

    @property
    def input_names(self) -> list[str]:
        names = [part.name for part in self.inputs] + [AGENT_ID] * bool(self.num_agent_ids)
        return names + [memory_in(name) for name in self.memory]

    @property
    def output_names(self) -> list[str]:
        return [OUTPUT, *(memory_out(name) for name in self.memory)]

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        parts = iter(tensors)
        observation = nest(self.space, parts)
        if self.num_agent_ids:
            observation = extended_by_id(observation, next(parts))
        if self.flatten is not None:
            observation = self.flatten(observation)
        if not self.memory:
            return (_run(self.module, {Columns.OBS: observation})[0],)
        # RLlib's networks with a memory read sequences [B, T, ...]: here of one step.
        batch = {Columns.OBS: _each(observation, lambda tensor: tensor.unsqueeze(1))}
        batch[Columns.STATE_IN] = dict(zip(self.memory, parts, strict=True))
        output, memory = _run(self.module, batch)
        return output.squeeze(1), *(memory[name] for name in self.memory)

    def example_inputs(self) -> tuple[Tensor, ...]:
        """Returns inputs of the right shapes and dtypes."""
        tensors = [
            torch.zeros((_EXAMPLES, *part.shape), dtype=getattr(torch, part.dtype))
            for part in self.inputs
        ]
        if self.num_agent_ids:
            tensors.append(torch.zeros(_EXAMPLES, self.num_agent_ids))
        return *tensors, *(torch.zeros(_EXAMPLES, *part.shape) for part in self.memory.values())


def export_onnx(graph: PolicyGraph, policy: str) -> bytes:
    """Returns the ONNX model of a policy, for batches of any size.

    Raises:
        BundleError: torch cannot express the network in ONNX, or only for one size of batches.
    """
    examples = graph.example_inputs()
    batch = torch.export.Dim("batch")
    try:
        with _quiet(), torch.no_grad():
            traced = torch.export.export(
                graph, examples, dynamic_shapes=(tuple({0: batch} for _ in examples),)
            )
            program = torch.onnx.export(
                traced,
                dynamo=True,
                input_names=graph.input_names,
                output_names=graph.output_names,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # what torch raises here has no class in common
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise BundleError(
            f"policy {policy!r}: torch cannot export {type(graph.module).__name__} to ONNX: "
            f"{reason} (a size taken by `len(tensor)` or `int(...)` is a constant to it: use "
            "`tensor.shape[0]`)"
        ) from error
    assert program is not None  # it is only for `f=...`
    return _cleaned(program.model_proto)


def _cleaned(model: Any) -> bytes:
    """Names the batch dimension and drops what tells of this machine, such as stack traces."""
    from onnx import checker

    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for part in (*model.graph.node, *model.graph.initializer, *model.graph.input, model.graph):
        del part.metadata_props[:]
        part.ClearField("doc_string")
    for part in model.graph.output:
        del part.metadata_props[:]
    del model.graph.value_info[:], model.metadata_props[:]
    checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def _run(module: RLModule, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns what decides on actions, and the next memory."""
    if isinstance(module, DefaultDQNRLModule):
        outputs = module.compute_q_values(batch)
        return outputs[QF_PREDS], outputs.get(Columns.STATE_OUT, {})
    outputs = module.forward_inference(batch)
    # What comes first here does so where policies are evaluated.
    key = Columns.ACTIONS if Columns.ACTIONS in outputs else Columns.ACTION_DIST_INPUTS
    return outputs[key], outputs.get(Columns.STATE_OUT, {})


def _each(observation: Any, function: Any) -> Any:
    if isinstance(observation, dict):
        return {key: _each(part, function) for key, part in observation.items()}
    if isinstance(observation, tuple):
        return tuple(_each(part, function) for part in observation)
    return function(observation)


def _initial_memory(module: RLModule) -> dict[str, Tensor]:
    """Returns what acting remembers by name; what the critic does is no part of that."""
    critic = getattr(module, "CRITIC", ())
    memory = module.get_initial_state()
    memory = {name: part for name, part in memory.items() if not name.startswith(critic)}
    if not all(
        isinstance(part, Tensor | np.ndarray) and not part.any() for part in memory.values()
    ):
        raise BundleError(
            f"{type(module).__name__}: get_initial_state() must return arrays of zeros by name, "
            "for the policy to be exported."
        )
    return {name: torch.as_tensor(part, dtype=torch.float32) for name, part in memory.items()}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's remarks on its own parts from the user."""
    loggers = [logging.getLogger(name) for name in _NOISY_LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        with warnings.catch_warnings():
            # torch 2.13 uses a class of its own that it deprecates.
            warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
