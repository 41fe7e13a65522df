"""YAML in and out, with the numbers people write and one error per mistake.

PyYAML follows YAML 1.1, where `1e-4` is a string and a key that stands twice silently wins the
second time. Learning rates are written `1e-4`, so both are mended here. Its `010` is 8 and its
`1:30` is 90, where YAML 1.2 has 10 and text: both are refused.

A file may come from a stranger. Size, depth and the number of values are bounded, with aliases
(`*name`) expanded: a few lines of nested aliases can stand for billions of values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

from empo_rllib.errors import ConfigError

MAX_BYTES = 256 * 1024
MAX_VALUES = 20_000
MAX_DEPTH = 50
# Of a number; PyYAML takes quadratic time for `1:59:59:...`.
_MAX_DIGITS = 100

_OCTAL = re.compile(r"[-+]?0[0-9_]+")

_FLOAT = re.compile(
    r"""^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
        |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
        |[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?
        |[-+]?\.(?:inf|Inf|INF)
        |\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)


class _Loader(yaml.SafeLoader):
    """`yaml.SafeLoader` that refuses a key given twice, and more than the limits above."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._num_values = 0
        self._depth = 0
        # Values and levels of each complete node, with aliases expanded.
        self._extents: dict[yaml.Node | None, tuple[int, int]] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Returns a node as `yaml.SafeLoader` does, and counts it."""
        mark = self.peek_event().start_mark
        if self.check_event(yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if node not in self._extents:
                raise _refused("a value holds itself by an alias. Remove the alias", mark)
            self._count(*self._extents[node], mark)
            return node
        before = self._num_values
        self._count(1, 1, mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        levels = max((self._extents[child][1] for child in _children(node)), default=0)
        self._extents[node] = (self._num_values - before, 1 + levels)
        return node

    def _count(self, values: int, levels: int, mark: yaml.Mark) -> None:
        self._num_values += values
        if self._depth + levels > MAX_DEPTH:
            raise _refused(
                f"nested more than {MAX_DEPTH} levels deep, with aliases (*name) expanded. Use "
                "fewer levels",
                mark,
            )
        if self._num_values > MAX_VALUES:
            raise _refused(
                f"more than {MAX_VALUES:,} keys and values, with aliases (*name) expanded. Write "
                "fewer, or keep data in a file that the environment reads",
                mark,
            )

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As in `yaml.SafeLoader`, with each key once."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.value == "<<":
                continue
            if key_node.value in seen:
                raise _refused(f"the key {key_node.value!r} stands twice", key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep=deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """Returns an integer or a float of at most `_MAX_DIGITS` characters."""
        if len(node.value) > _MAX_DIGITS:
            raise _refused(f"a number has more than {_MAX_DIGITS} characters", node.start_mark)
        is_int = node.tag.endswith(":int")
        construct = self.construct_yaml_int if is_int else self.construct_yaml_float
        number: int | float = construct(node)
        if base := _unexpected_base(node.value):
            raise _refused(
                f"{node.value} would be {number}, a number to base {base}. Write {number}, or "
                f'"{node.value}" for text',
                node.start_mark,
            )
        return number


def _unexpected_base(text: str) -> int | None:
    """Returns the base that YAML 1.1 alone takes a number to be written in; None for all others."""
    if ":" in text:
        return 60
    return 8 if _OCTAL.fullmatch(text) else None


def _children(node: yaml.Node | None) -> Iterable[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return (part for pair in node.value for part in pair)
    return node.value if isinstance(node, yaml.SequenceNode) else ()


def _refused(problem: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, mark)


class _Dumper(yaml.SafeDumper):
    """`yaml.SafeDumper` that quotes what `_Loader` would take for a number, and uses no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.construct_number)


def parse_yaml(text: str, source: str) -> Any:
    """Returns what one YAML document holds.

    Args:
        text: the document.
        source: the file or flag it comes from, for the error.

    Raises:
        ConfigError: the text is not YAML, or more than the limits of this module; the message has
            `source` and the line.
    """
    if len(text) > MAX_BYTES:
        raise too_large(source)
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{source}:{mark.line + 1}" if mark else source
        raise ConfigError(f"{place}: invalid YAML: {error.problem or error.context}.") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ConfigError(f"{source}: invalid YAML: {error}") from None


def too_large(source: str) -> ConfigError:
    """Returns the error about a document of more than `MAX_BYTES`."""
    return ConfigError(
        f"{source}: more than {MAX_BYTES:,} bytes, which is the limit of an experiment. Keep data "
        "in a file that the environment reads."
    )


def render_yaml(data: Any) -> str:
    """Returns `data` as YAML text with keys in their own order; `parse_yaml` gives it back."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
