"""One policy of a bundle: from observations to the network's output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .actions import ActionRule
from .errors import BundleError
from .fields import one_of, refused, take, take_dicts, take_shape, take_strings
from .network import Network

# What a network may read, with onnxruntime's name of it.
TENSOR_TYPES = {
    "bool": "tensor(bool)",
    "float16": "tensor(float16)",
    "float32": "tensor(float)",
    **{
        f"{sign}int{bits}": f"tensor({sign}int{bits})"
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
}
AGENT_ID = "agent_id"
OUTPUT = "output"


def memory_in(name: str) -> str:
    """Returns the name of the input for a part of the memory."""
    return f"memory_in.{name}"


def memory_out(name: str) -> str:
    """Returns the name of the output for a part of the memory."""
    return f"memory_out.{name}"


@dataclass(frozen=True)
class Input:
    """A tensor that a network reads of an observation: where it is there, and what it is."""

    name: str
    path: tuple[str | int, ...]
    dtype: str
    shape: tuple[int, ...]

    @classmethod
    def from_data(cls, data: dict[str, Any], place: str) -> Input:
        """Reads `bundle.json`'s data."""
        path = take(data, "path", list, place)
        if any(type(key) not in (str, int) for key in path):
            raise refused(f"{place}.path", path, "must be keys of an observation")
        return cls(
            take(data, "name", str, place),
            tuple(path),
            one_of(data.get("dtype"), TENSOR_TYPES, f"{place}.dtype"),
            take_shape(data, "shape", place),
        )

    def gather(self, observations: Sequence[Any]) -> np.ndarray:
        """Returns this part of all observations, of shape (number of them, *shape)."""
        parts = [self._part(observation) for observation in observations]
        for part in parts:
            if part.shape != self.shape:
                raise BundleError(f"{self._place} has the shape {part.shape}, not {self.shape}.")
            if part.dtype.kind not in ("biuf" if self.dtype.startswith("float") else "biu"):
                raise BundleError(f"{self._place} is {part.dtype}, not {self.dtype}.")
        return np.stack(parts).astype(self.dtype, copy=False)

    @property
    def _place(self) -> str:
        return "observation" + "".join(f"[{key!r}]" for key in self.path)

    def _part(self, observation: Any) -> np.ndarray:
        try:
            for key in self.path:
                observation = observation[key]
        except (LookupError, TypeError):
            raise BundleError(f"{self._place} is missing.") from None
        return np.asarray(observation)


class BundlePolicy:
    """One policy: what its network reads, the network, and what its output means.

    Attributes:
        inputs: what the network reads of an observation.
        agent_ids: agents in the order of the one-hot input `agent_id`; empty without that input.
        memory: shape of each part of the memory between steps by name; empty without a memory.
        rule: how actions follow from the network's output.
        action_names: what each discrete action means; empty where the environment does not tell.

    Args:
        data: The policy's part of `bundle.json`.
        place: Where that is, for messages.

    Raises:
        BundleError: something is missing, of another kind, or contradicts the rest.
    """

    def __init__(self, data: dict[str, Any], place: str) -> None:
        inputs = take_dicts(data, "inputs", place)
        self.inputs = tuple(Input.from_data(part, f"{place}.inputs") for part in inputs)
        self.agent_ids = take_strings(data, "agent_ids", place)
        memory = take_dicts(data, "memory", place)
        self.memory = {
            take(part, "name", str, f"{place}.memory"): take_shape(part, "shape", f"{place}.memory")
            for part in memory
        }
        self.rule = ActionRule.from_data(take(data, "action", dict, place), f"{place}.action")
        self.action_names = take_strings(data, "action_names", place)
        if self.action_names and len(self.action_names) != self.rule.size:
            raise refused(f"{place}.action_names", self.action_names, "must name every action")
        self._network: Network

    def open(self, model: bytes, source: str) -> None:
        """Makes a session of the ONNX model, which must read and return what is said here.

        Raises:
            BundleError: it does not, or is no model.
        """
        network = Network(model, source)
        size = () if self.rule.size is None else (self.rule.size,)
        wanted_outputs: dict[str, tuple[int, ...]] = {OUTPUT: size}
        wanted_outputs |= {memory_out(name): shape for name, shape in self.memory.items()}
        for verb, found, wanted in (
            ("reads", network.inputs, self._wanted_inputs()),
            ("returns", network.outputs, wanted_outputs),
        ):
            if found != wanted:
                raise BundleError(
                    f"{source}: {verb} {found!s:.500}; bundle.json says {wanted!s:.500}."
                )
        self._network = network

    def outputs(
        self, observations: Sequence[Any], agent: str, memory: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Runs the network.

        Args:
            observations: Of one agent, from B environments.
            agent: Its name.
            memory: What the step before returned; empty at the start of an episode.

        Returns:
            The output [B, rule.size], or [B], and the memory for the next step.

        Raises:
            BundleError: an observation is not of the space.
        """
        feeds = self.feeds(observations, agent, memory)
        names = [OUTPUT, *map(memory_out, self.memory)]
        output, *parts = self._network.run(names, feeds)
        return output, dict(zip(self.memory, parts, strict=True))

    def feeds(
        self, observations: Sequence[Any], agent: str, memory: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Returns what the network reads, by name; the arguments are those of `outputs`."""
        feeds = {part.name: part.gather(observations) for part in self.inputs}
        if self.agent_ids:
            one_hot = np.zeros((len(observations), len(self.agent_ids)), np.float32)
            one_hot[:, self.agent_ids.index(agent)] = 1.0
            feeds[AGENT_ID] = one_hot
        for name, shape in self.memory.items():
            empty = np.zeros((len(observations), *shape), np.float32)
            feeds[memory_in(name)] = memory.get(name, empty)
        return feeds

    def _wanted_inputs(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        wanted = {part.name: (TENSOR_TYPES[part.dtype], part.shape) for part in self.inputs}
        if self.agent_ids:
            wanted[AGENT_ID] = (TENSOR_TYPES["float32"], (len(self.agent_ids),))
        for name, shape in self.memory.items():
            wanted[memory_in(name)] = (TENSOR_TYPES["float32"], shape)
        return wanted
