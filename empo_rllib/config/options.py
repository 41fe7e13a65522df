"""Renders the options reference, `docs/options.md`, from the models of the experiment file.

`python -m empo_rllib.config.generate` writes it; nothing else needs this module.
"""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel, BeforeValidator, Discriminator, Tag
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.fields import class_path, plain_name
from empo_rllib.config.option_texts import (
    BETWEEN_KEYS,
    BY_POLICY,
    INTRODUCTION,
    PARAM_MEANINGS,
    PARAMS,
)
from empo_rllib.config.param_limits import CHOICES, ELSEWHERE, RANGES
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.config.search_space import SEARCH_KINDS, SEARCH_SPACE_SCHEMA, Searchable

_RLLIB = "https://docs.ray.io/en/latest/rllib"
_METHOD_PAGE = _RLLIB + "/package_ref/doc/ray.rllib.algorithms.algorithm_config.AlgorithmConfig.{}"

_WORDS = {int: "integer", float: "number", str: "text", bool: "`true` or `false`"}
_PLURALS = {"mapping": "mappings", "integer": "integers", "number": "numbers", "text": "texts"}
_VALIDATORS = {
    plain_name: "letters, digits, `.`, `_` and `-`, at most 128, the first a letter or digit",
    class_path: "`package.module:Class`",
}
_SEARCHABLE = "may be a search space"


def render_options(params_table: Mapping[str, Any]) -> str:
    """Returns the reference as Markdown: every key in the order of the file.

    Args:
        params_table: `{algorithm: {parameter: {method, default, kinds}}}`.
    """
    parts = [INTRODUCTION, "## The file\n", _table(_rows(ExperimentConfig, "", depth=0))]
    for name, info in ExperimentConfig.model_fields.items():
        for section in _sections_in(info.annotation):
            about = inspect.cleandoc(section.__doc__ or "")
            parts += [f"\n## {name}\n\n{about}\n", _table(_rows(section, _prefix(name, info)))]
        if name == "algorithm":
            parts.append("\n" + _render_params(params_table))
    parts += ["\n## Search spaces\n", _render_search_spaces(), "\n" + BETWEEN_KEYS]
    return "\n".join(parts)


def _prefix(name: str, info: FieldInfo) -> str:
    """Returns what stands before the keys of a section; `policies` has free keys of its own."""
    return f"{name}.<agent>." if _is_mapping_of_sections(info.annotation) else f"{name}."


def _rows(model: type[BaseModel], prefix: str, depth: int | None = None) -> Iterator[list[str]]:
    """Yields a row for each key below `prefix`; with depth 0 none for the keys of sections."""
    for field, info in model.model_fields.items():
        key = prefix + (info.alias or field)
        nested = list(_sections_in(info.annotation))
        if depth == 0 and nested and not _is_union(info.annotation):
            meaning = f"[its keys](#{field}): {_meaning(info)}"
            required = "required" if info.is_required() else ""
            yield [f"`{key}`", "section", required, "", meaning]
            continue
        yield [f"`{key}`", *_type_and_default(info), _rules_of(info), _meaning(info)]
        if depth is None:
            for section in nested:
                yield from _rows(section, f"{key}.")


def _type_and_default(info: FieldInfo) -> tuple[str, str]:
    default = info.get_default()
    if default is PydanticUndefined:
        return _type_name(info.annotation), "required"
    return _type_name(info.annotation), f"`{json.dumps(default)}`".replace('"', "")


def _rules_of(info: FieldInfo) -> str:
    # pydantic takes the outermost `Annotated` apart into `info.metadata`.
    rules = [*_own_rules(info.metadata), *_rules(info.annotation)]
    if any(isinstance(part, Searchable) for part in info.metadata):
        rules.append(_SEARCHABLE)
    return "; ".join(dict.fromkeys(rules))


def _meaning(info: FieldInfo) -> str:
    return _escape(info.description or "")


def _type_name(annotation: Any) -> str:
    """Returns the type in words: `integer or null`."""
    annotation = _bare(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in _WORDS:
        return _WORDS[annotation]
    if annotation is None or annotation is types.NoneType:
        return "`null`"
    if origin is Literal:
        return ", ".join(f"`{json.dumps(value)}`".replace('"', "") for value in arguments)
    if origin is list:
        return "list of " + _plural(_type_name(arguments[0]))
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_type_name, arguments)))
    return "mapping"


def _plural(name: str) -> str:
    if name.startswith("`"):  # words of a Literal
        return name
    return name.replace("list", "lists", 1) if name.startswith("list") else _PLURALS[name]


def _rules(annotation: Any) -> Iterator[str]:
    """Yields the rules of a type and of what it is made of."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        yield from _own_rules(metadata)
        yield from _rules(inner)
    elif get_origin(annotation) in (Union, types.UnionType, list):
        for argument in get_args(annotation):
            yield from _rules(argument)


def _own_rules(metadata: Iterable[Any]) -> Iterator[str]:
    lengths: list[int] = []
    for part in metadata:
        if isinstance(part, FieldInfo):
            yield from _own_rules(part.metadata)
        elif isinstance(part, annotated_types.Ge):
            yield f"at least {part.ge}"
        elif isinstance(part, annotated_types.Gt):
            yield f"greater than {part.gt}"
        elif isinstance(part, annotated_types.Le):
            yield f"at most {part.le}"
        elif isinstance(part, annotated_types.Lt):
            yield f"below {part.lt:,}"
        elif isinstance(part, annotated_types.MinLen | annotated_types.MaxLen):
            lengths.append(part.min_length if hasattr(part, "min_length") else part.max_length)
        elif isinstance(part, BeforeValidator) and part.func in _VALIDATORS:
            yield _VALIDATORS[part.func]
    if lengths == [1]:
        yield "not empty"
    elif lengths:
        yield f"{lengths[0]} in each list"


def _bare(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _is_union(annotation: Any) -> bool:
    return get_origin(_bare(annotation)) in (Union, types.UnionType)


def _is_mapping_of_sections(annotation: Any) -> bool:
    annotation = _bare(annotation)
    if get_origin(annotation) is dict:
        return any(_sections_in(get_args(annotation)[1]))
    return _is_union(annotation) and any(map(_is_mapping_of_sections, get_args(annotation)))


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yields the sections that a key may hold."""
    annotation = _bare(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        if not isinstance(argument, str | Tag | Discriminator):
            yield from _sections_in(argument)


def _render_params(params_table: Mapping[str, Any]) -> str:
    """Returns the parameters of RLlib: those that matter in a table, the others by name."""
    header = ["parameter", *params_table, "rule", "meaning"]
    rows = [
        [f"`{name}`", *_defaults(name, params_table), _param_rule(name), meaning]
        for name, meaning in PARAM_MEANINGS.items()
    ]
    others: dict[str, dict[str, list[str]]] = {}
    for algorithm, table in params_table.items():
        for name, entry in table.items():
            if name not in PARAM_MEANINGS:
                others.setdefault(entry["method"], {}).setdefault(name, []).append(algorithm)
    lines = [_other_line(method, names, len(params_table)) for method, names in others.items()]
    elsewhere = [[f"`{name}`", place] for name, place in ELSEWHERE.items()]
    return "\n".join(
        [
            PARAMS.format(page=f"{_RLLIB}/rllib-algorithms.html"),
            _table(rows, header),
            "\nAlso taken, under the method of `AlgorithmConfig` that documents them:\n",
            *lines,
            BY_POLICY.format(lines="\n".join(map(_by_policy_line, params_table))),
            "Not taken here, because this package sets them:\n",
            _table(elsewhere, ["parameter", "instead"]),
        ]
    )


def _defaults(name: str, params_table: Mapping[str, Any]) -> Iterator[str]:
    for table in params_table.values():
        if name not in table:
            yield ""
            continue
        default = table[name]["default"]
        yield f"`{json.dumps(default)}`".replace('"', "") if not isinstance(default, dict) else "…"


def _param_rule(name: str) -> str:
    words = [f"`{word}`" for word in CHOICES.get(name, ())]
    return " or ".join([*words, RANGES[name].text] if name in RANGES else words)


def _other_line(method: str, names: Mapping[str, list[str]], num_algorithms: int) -> str:
    listed = ", ".join(
        f"`{name}`" + ("" if len(whose) == num_algorithms else f" ({', '.join(whose)})")
        for name, whose in sorted(names.items())
    )
    return f"- [{method}]({_METHOD_PAGE.format(method)}.html): {listed}"


def _by_policy_line(algorithm: str) -> str:
    row = ALGORITHMS[algorithm]
    names = ", ".join(f"`{name}`" for name in sorted(row.by_policy))
    fast = " and ".join(f"`{name}`" for name in sorted(row.by_policy_in_fragments))
    return f"- {algorithm}: {names}" + (f"; with the fast samplers also {fast}" if fast else "")


def _render_search_spaces() -> str:
    rows = []
    for kind in SEARCH_KINDS:
        schema = SEARCH_SPACE_SCHEMA["properties"][kind]
        values = "[low, high]" if schema.get("maxItems") == 2 else "[option, option, ..]"
        rows.append([f"`{{{kind}: {values}}}`", schema["description"]])
    return _table(rows, ["value", "each trial gets"])


def _table(
    rows: Iterable[list[str]],
    header: Iterable[str] = ("key", "type", "default", "rule", "meaning"),
) -> str:
    names = list(header)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(
        "|" + "".join(f" {cell} |" if cell else " |" for cell in line) for line in lines
    )


def _escape(text: str) -> str:
    """Keeps Markdown from reading `<policy>` as a tag."""
    return text.replace("<", "\\<").replace("|", "\\|")
