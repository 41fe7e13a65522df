"""Writes what follows from the installed RLlib and the pydantic models.

These are `rllib_params.json`, `schema.json` and, in a clone, `docs/options.md`.

python -m empo_rllib.config.generate            # write them
python -m empo_rllib.config.generate --check    # exit 1 when one is out of date
"""

from __future__ import annotations

import argparse
import inspect
import json
import pkgutil
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from empo_rllib.config.algorithms import ALGORITHMS, Algorithm
from empo_rllib.config.options import render_options
from empo_rllib.config.param_limits import CHOICES, ELSEWHERE, RANGES
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.config.search_space import SEARCH_SPACE_SCHEMA
from empo_rllib.files import write_whole

# Methods of `AlgorithmConfig` whose parameters a user may set. A later one wins: parameters that
# moved are still accepted by the method that they moved from.
METHODS = (
    "training",
    "env_runners",
    "environment",
    "rl_module",
    "learners",
    "reporting",
    "fault_tolerance",
    "debugging",
    "multi_agent",
    "framework",
    "resources",
)

# Read by RLlib's old API stack or TensorFlow only: on the new stack they would silently do nothing,
# or RLlib refuses every value but the default.
# fmt: off
INEFFECTIVE = frozenset({
    "optimizer", "compress_observations", "create_env_on_local_worker", "enable_tf1_exec_eagerly",
    "exploration_config", "observation_filter", "preprocessor_pref", "remote_env_batch_wait_ms",
    "remote_worker_envs", "sampler_perf_stats_ema_coef", "update_worker_filter_stats",
    "use_worker_filter_stats", "action_mask_key", "clip_rewards", "is_atari", "render_env",
    "keep_per_episode_custom_metrics", "fake_sampler", "log_sys_usage", "policy_map_capacity",
    "policy_states_are_swappable", "eager_max_retraces", "eager_tracing", "local_tf_session_args",
    "tf_session_args", "decay", "learner_queue_timeout", "minibatch_buffer_size", "momentum",
    "num_multi_gpu_tower_stacks", "opt_type", "replay_buffer_num_slots", "replay_proportion",
    "timeout_s_aggregator_manager", "vtrace", "adam_epsilon",
    "categorical_distribution_temperature", "hiddens", "noisy", "optimization_config",
    "policy_model_config", "q_model_config",
})
# fmt: on

# Where RLlib's annotations say less than its code accepts.
EXTRA_KINDS = {"entropy_coeff": "schedule"}
NULLABLE = frozenset({"grad_clip", "minibatch_size", "vf_clip_param"})

_KINDS = ("bool", "int", "float", "str", "list", "dict", "schedule", "null")
_DEPRECATED = -1  # ray._common.deprecation.DEPRECATED_VALUE
_JSON_TYPES: dict[str, dict[str, Any]] = {
    "bool": {"type": "boolean"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "str": {"type": "string"},
    "list": {"type": "array"},
    "dict": {"type": "object"},
    "schedule": {"type": "array", "items": {"type": "array"}, "minItems": 2},
    "null": {"type": "null"},
}


def build_params_table() -> dict[str, dict[str, dict[str, Any]]]:
    """Returns `{algorithm: {parameter: {method, default, kinds}}}` of the installed RLlib."""
    return {name: dict(sorted(_params_of(row).items())) for name, row in ALGORITHMS.items()}


def build_json_schema(params_table: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the JSON Schema of experiment files, for editors."""
    schema = ExperimentConfig.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "empo_rllib experiment"
    schema["$defs"]["AlgorithmConfig"]["allOf"] = [
        {
            "if": {"properties": {"name": {"const": algorithm}}},
            "then": {"properties": {"params": _params_schema(table)}},
        }
        for algorithm, table in params_table.items()
    ]
    shared: dict[str, Any] = _share_search_space(schema)
    shared["$defs"]["SearchSpace"] = SEARCH_SPACE_SCHEMA
    return shared


def render_json(node: Any, indent: str = "", prefix: int = 0) -> str:
    """Returns JSON that breaks only what is too long for a line, so that diffs can be read.

    Args:
        node: what to render.
        indent: white space in front of the line that it stands in.
        prefix: number of characters in front of it on that line.
    """
    text = json.dumps(node)
    if len(indent) + prefix + len(text) <= 100 or not node or not isinstance(node, dict | list):
        return text
    inner = indent + " "
    if isinstance(node, list):
        lines = [inner + render_json(value, inner) for value in node]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    lines = []
    for key, value in node.items():
        start = f"{json.dumps(key)}: "
        lines.append(inner + start + render_json(value, inner, len(start)))
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def render_files() -> dict[Path, str]:
    """Returns the text that each generated file must have."""
    folder = Path(__file__).parent
    table = build_params_table()
    files = {
        folder / "rllib_params.json": render_json(table) + "\n",
        folder / "schema.json": render_json(build_json_schema(table)) + "\n",
    }
    documents = folder.parents[1] / "docs"
    if documents.is_dir():  # an installed package has none
        files[documents / "options.md"] = render_options(table)
    return files


def main(argv: list[str] | None = None) -> int:
    """Writes the generated files, or with `--check` returns 1 when one is out of date."""
    parser = argparse.ArgumentParser(prog="python -m empo_rllib.config.generate")
    parser.add_argument("--check", action="store_true", help="change nothing, only compare")
    check = parser.parse_args(argv).check
    stale = []
    for path, text in render_files().items():
        if path.is_file() and path.read_text("utf-8") == text:
            continue
        stale.append(path.name)
        if not check:
            write_whole(path, text)
    if check and stale:
        print(f"out of date: {', '.join(stale)}; run python -m empo_rllib.config.generate")
        return 1
    print(f"written: {', '.join(stale)}" if stale else "up to date")
    return 0


def _params_of(algorithm: Algorithm) -> dict[str, dict[str, Any]]:
    config_class = pkgutil.resolve_name(algorithm.config_class)
    config = config_class()
    left_out = {*INEFFECTIVE, *algorithm.ineffective, *ELSEWHERE, *algorithm.elsewhere}
    table = {}
    for method in METHODS:
        for parameter in _signature(config_class, method):
            name = parameter.name
            if name.startswith("_") or name in left_out:
                continue
            default = _default(config, name)
            kinds = _kinds(name, parameter.annotation, default)
            if kinds:
                table[name] = {"method": method, "default": default, "kinds": kinds}
    return table


def _signature(config_class: type, method: str) -> Iterator[inspect.Parameter]:
    """Yields the named parameters of `method`, base classes first: they pass `**kwargs` up."""
    for class_ in reversed(config_class.__mro__):
        function = class_.__dict__.get(method)
        if function is None:
            continue
        for parameter in inspect.signature(function).parameters.values():
            named = parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
            if named and parameter.name != "self" and parameter.default != _DEPRECATED:
                yield parameter


def _default(config: Any, name: str) -> Any:
    """Returns RLlib's default as JSON, or None where it is a class or does not exist."""
    try:
        return json.loads(json.dumps(getattr(config, name, None)))
    except TypeError:
        return None


def _kinds(name: str, annotation: Any, default: Any) -> list[str]:
    kinds = set(_annotated_kinds(annotation))
    if kinds <= {"null"}:
        return []
    if name in EXTRA_KINDS:
        kinds.add(EXTRA_KINDS[name])
    if isinstance(default, float):
        kinds.add("float")
    if "float" in kinds:
        kinds.discard("int")
    # `Optional` mostly means "need not be given": a switch, a choice and a number with a range
    # cannot do without a value.
    needs_value = name in RANGES or name in CHOICES or "bool" in kinds
    if needs_value and default is not None and name not in NULLABLE:
        kinds.discard("null")
    return [kind for kind in _KINDS if kind in kinds]


def _annotated_kinds(annotation: Any) -> Iterator[str]:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _annotated_kinds(member)
    elif origin is list:
        nested = any(
            typing.get_origin(item) in (list, tuple) for item in typing.get_args(annotation)
        )
        yield "schedule" if nested else "list"
    elif origin is tuple or annotation is tuple:
        yield "list"
    elif annotation is type(None):
        yield "null"
    elif origin is dict or annotation in (bool, int, float, str, list, dict):
        yield (origin or annotation).__name__


def _share_search_space(node: Any) -> Any:
    """Replaces every copy of the search space's schema with a reference to one."""
    if node == SEARCH_SPACE_SCHEMA:
        return {"$ref": "#/$defs/SearchSpace"}
    if isinstance(node, dict):
        return {key: _share_search_space(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_share_search_space(value) for value in node]
    return node


def _params_schema(table: Mapping[str, Any]) -> dict[str, Any]:
    properties = {name: _param_schema(table[name]) for name in sorted(table)}
    return {"properties": properties, "additionalProperties": False}


def _param_schema(entry: Mapping[str, Any]) -> dict[str, Any]:
    options = [_JSON_TYPES[kind] for kind in entry["kinds"]]
    default = json.dumps(entry["default"])
    description = f"AlgorithmConfig.{entry['method']}(); RLlib's default: {default}"
    return {
        "anyOf": [*options, SEARCH_SPACE_SCHEMA],
        "description": description,
    }


if __name__ == "__main__":
    sys.exit(main())
