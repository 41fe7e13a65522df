"""A network of a bundle: an ONNX model that may only compute."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .errors import BundleError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# Messages of onnx.proto3 and their fields that hold other messages, as far as tensors and operators
# are below them: field number to message.
_MESSAGES: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
# Fields that a bundle does without, with what they are.
_REFUSED = {
    ("ModelProto", 14): "metadata, which may hold settings of the runtime",
    ("TensorProto", 13): "weights in another file",
    ("TensorProto", 14): "weights in another file",
}
_DOMAIN = ("NodeProto", 7)
_ONNX_DOMAINS = (b"", b"ai.onnx")
_MAX_DEPTH = 32


class Network:
    """An ONNX model that runs on one thread.

    Attributes:
        inputs: onnxruntime's type of each input, and its shape without the batch dimension.
        outputs: shape of each output without the batch dimension.

    Args:
        model: The model; nothing outside of it is read.
        source: Where it is from, for messages.

    Raises:
        BundleError: it is no ONNX model, wants another file or other operators than ONNX's own, or
            onnxruntime is not there.
    """

    def __init__(self, model: bytes, source: str) -> None:
        check_model(model, source)
        self._source = source
        # The runtime's errors have no class in common; a name that is no UTF-8 is a ValueError.
        try:
            self._session = _open_session(model)
            self.inputs = {
                part.name: (part.type, tuple(part.shape[1:])) for part in self._session.get_inputs()
            }
            self.outputs = {
                part.name: tuple(part.shape[1:]) for part in self._session.get_outputs()
            }
        except BundleError:
            raise
        except Exception as error:
            raise BundleError(f"{source}: no network that can run: {error}") from error

    def run(self, outputs: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Returns these outputs for these inputs.

        Raises:
            BundleError: the network fails on these inputs.
        """
        try:
            return self._session.run(outputs, feeds)
        except Exception as error:  # as above
            raise BundleError(f"{self._source}: the network fails: {error}") from error


def _open_session(model: bytes) -> InferenceSession:
    try:
        import onnxruntime
    except ImportError as error:
        raise BundleError("bundles need onnxruntime: pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised; printing them too is noise
    # Without this the runtime would also take a format of its own.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    return onnxruntime.InferenceSession(
        model,
        options,
        providers=["CPUExecutionProvider"],
        enable_fallback=0,  # it would print, and try the same again
    )


def check_model(model: bytes, source: str) -> None:
    """Refuses a model that would make the runtime read another file, or use other operators.

    The runtime resolves weights in other files against the working folder, and may have operators
    beside those of ONNX. This reads the model's protobuf encoding as far as these are concerned.

    Raises:
        BundleError: as said, or it is no protobuf message.
    """
    try:
        for message, field, value in _walk(memoryview(model), "ModelProto", 0):
            if (reason := _objection(message, field, value)) is not None:
                raise BundleError(f"{source}: refused, because it has {reason}.")
    except (IndexError, ValueError) as error:
        raise BundleError(f"{source}: damaged: not an ONNX model ({error}).") from error


def _objection(message: str, field: int, value: int | memoryview) -> str | None:
    if (message, field) in _REFUSED and value != 0:
        return _REFUSED[message, field]
    if (message, field) == _DOMAIN and not isinstance(value, int) and value not in _ONNX_DOMAINS:
        return f"operators of {bytes(value[:40])!r}, not of ONNX"
    return None


def _walk(
    data: memoryview, message: str, depth: int
) -> Iterator[tuple[str, int, int | memoryview]]:
    """Yields message, field number and value of all fields that may matter."""
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    for field, value in _fields(data):
        yield message, field, value
        inner = _MESSAGES[message].get(field)
        if inner is not None:
            if isinstance(value, int):
                raise ValueError(f"field {field} of {message} is a number")
            yield from _walk(value, inner, depth + 1)


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yields number and value of each field of a protobuf message."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        if tag >= 2**32:
            raise ValueError("a tag is too long")
        field, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            value, position = _varint(data, position)
            yield field, value
            continue
        if wire_type == 2:
            size, position = _varint(data, position)
        elif wire_type in (1, 5):
            size = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"wire type {wire_type}")
        if size > len(data) - position:
            raise ValueError("cut off")
        yield field, data[position : position + size]
        position += size


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """Returns the number at `position` and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number is too long")
