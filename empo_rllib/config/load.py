"""From a YAML file and `--set` overrides to a validated experiment."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from empo_rllib.config.messages import Location, render_problems
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.config.yaml_text import MAX_BYTES, MAX_DEPTH, parse_yaml, too_large
from empo_rllib.errors import ConfigError, nearest

# Characters of an override in a message.
_MAX_SHOWN = 200
_NOT_A_MAPPING = "an experiment is a mapping of keys such as name, env and algorithm"


def load_config(
    source: str | Path | Mapping[str, Any] | ExperimentConfig,
    overrides: Iterable[str] | Mapping[str, Any] = (),
) -> ExperimentConfig:
    """Reads an experiment, from a file or from what a file would hold.

    Imports neither Ray nor torch, and checks no environment: whether `env.id` exists and whether
    the policies fit its agents is for `make_env` and `resolve_policies` to say.

    Args:
        source: The YAML file; or its content as a mapping; or an experiment, of which a changed
            one is wanted. It stays as it is.
        overrides: `key=value` texts, the key dotted and the value YAML; or a mapping from dotted
            keys to values. The last one wins.

    Returns:
        The experiment with every default filled in.

    Raises:
        ConfigError: The file cannot be read or the experiment is wrong. The message has a line for
            every mistake, each with place, value, rule and nearest match.
    """
    if isinstance(source, str | Path):
        data, name = _read(Path(source)), str(source)
    else:
        data, name = _copy(source), "experiment"
    if isinstance(overrides, Mapping):
        given_in = "overrides"
        keys = [_set(data, key, value, given_in) for key, value in overrides.items()]
    else:
        given_in = "--set"
        keys = [apply_override(data, override) for override in overrides]
    return validate_config(data, name, keys, given_in)


def validate_config(
    data: Mapping[str, Any],
    source: str = "experiment",
    overridden: Iterable[tuple[str, ...]] = (),
    given_in: str = "--set",
) -> ExperimentConfig:
    """Checks an experiment given as plain data.

    Args:
        data: what the file would hold.
        source: what to call it in an error.
        overridden: keys of overrides, so that an error blames these and not the file.
        given_in: what to call the overrides in an error.

    Raises:
        ConfigError: with a line for every mistake.
    """
    keys = list(overridden)

    def source_of(location: Location) -> str:
        parts = tuple(map(str, location))
        given = any(parts[: len(key)] == key[: len(parts)] for key in keys)
        return given_in if given else source

    try:
        return ExperimentConfig.model_validate(dict(data))
    except ValidationError as error:
        raise ConfigError(render_problems(error, data, source_of)) from None
    except RecursionError:
        raise ConfigError(f"{source}: a value holds itself, or is nested too deeply.") from None


def apply_override(data: dict[str, Any], override: str) -> tuple[str, ...]:
    """Puts one `key=value` into an experiment's data, in place.

    Args:
        data: what the file holds.
        override: a dotted key, `=`, and a value in YAML; sections that are missing are made.

    Returns:
        The key's parts.

    Raises:
        ConfigError: there is no `=`, the key is not one, or the value is not YAML.
    """
    shown = override if len(override) <= _MAX_SHOWN else f"{override[:_MAX_SHOWN]}..."
    source = f"--set {shown}"
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"{source}: must have the form key=value, such as --set seed=3.")
    return _set(data, key.strip(), parse_yaml(text, source), source)


def _set(data: dict[str, Any], key: str, value: Any, source: str) -> tuple[str, ...]:
    """Puts a value at a dotted key, in place; returns the key's parts."""
    parts = tuple(key.split("."))
    if not all(parts):
        raise ConfigError(f"{source}: {key!r} is not a key; it has an empty part.")
    if len(parts) > MAX_DEPTH:
        raise ConfigError(f"{source}: the key has more than {MAX_DEPTH} parts.")
    section = data
    for depth, part in enumerate(parts[:-1], start=1):
        inner = section.get(part)
        if inner is None:
            inner = section[part] = {}
        if not isinstance(inner, dict):
            raise ConfigError(
                f"{source}: {'.'.join(parts[:depth])} = {inner!r:.80} is not a section, "
                f"so {parts[depth]!r} cannot be set in it."
            )
        section = inner
    section[parts[-1]] = value
    return parts


def _copy(source: Mapping[str, Any] | ExperimentConfig) -> dict[str, Any]:
    if isinstance(source, ExperimentConfig):
        return source.to_dict()
    if isinstance(source, Mapping):
        return copy.deepcopy(dict(source))
    kind = type(source).__name__
    raise ConfigError(f"experiment: is of type {kind}; give a file's path or a mapping of keys.")


def _read(path: Path) -> dict[str, Any]:
    data = parse_yaml(_read_text(path), str(path))
    if data is None:
        raise ConfigError(f"{path}: the file is empty; {_NOT_A_MAPPING}.")
    if not isinstance(data, dict):
        kind = "a list" if isinstance(data, list) else f"a single value, {str(data)[:40]!r}"
        raise ConfigError(f"{path}: the file holds {kind}; {_NOT_A_MAPPING}.")
    return data


def _read_text(path: Path) -> str:
    if path.is_dir():
        files = sorted(file.name for file in path.glob("*.y*ml"))
        example = f" Give a file in it, such as {path / files[0]}." if files else ""
        raise ConfigError(f"{path}: is a directory, not an experiment file.{example}")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise too_large(str(path))
        text = content.decode("utf-8")
    except FileNotFoundError:
        siblings = [str(file) for file in path.parent.glob("*.y*ml")]
        where = "" if path.is_absolute() else f" It is looked for in {Path.cwd()}."
        suggestion = nearest(str(path), siblings)
        raise ConfigError(f"{path}: there is no such file.{suggestion or where}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not a text file; an experiment is YAML in UTF-8.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{path}: cannot be read: {reason}.") from None
    if "\0" in text:
        raise ConfigError(f"{path}: is not a text file; an experiment is YAML in UTF-8.")
    return text
