"""Exported policies that act, with numpy and onnxruntime alone: no Ray, no torch, no environment.

    from empo_rllib import load_bundle

    bundle = load_bundle("exported")
    action = bundle.act(observation, agent="agent_0")

A bundle is a folder that `python -m empo_rllib export` has written; docs/export.md tells what is in
it. Each holds a copy of this package, as `empo_bundle`, for machines without `empo_rllib`: imports
here are relative, and of nothing but the standard library, numpy and onnxruntime.

Loading runs no code of a bundle and writes nothing: `bundle.json` is data, the networks are ONNX of
ONNX's own operators, and every file has its size and SHA-256 in `bundle.json`. These tell damage,
not who wrote the bundle.
"""

from .bundle import Bundle, load_bundle
from .errors import BundleError

__all__ = ["Bundle", "BundleError", "load_bundle"]
