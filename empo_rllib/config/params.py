"""`algorithm.params`: which parameters RLlib's algorithms have, checked without importing RLlib.

`rllib_params.json` lists them; `python -m empo_rllib.config.generate` writes it from the installed
RLlib, and a contract test tells when it is out of date.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.param_limits import CHOICES, ELSEWHERE, OTHER_NAMES, RANGES
from empo_rllib.config.problems import Problem
from empo_rllib.config.search_space import (
    NEEDS_INTEGERS,
    between,
    candidates,
    conditions_of,
    find_search_spaces,
    integral,
    is_number,
    is_search_space,
    options_of,
    search_space_problem,
)
from empo_rllib.errors import nearest

_BATCH, _MINIBATCH = "train_batch_size_per_learner", "minibatch_size"
#: The parameter that holds other values of parameters for single policies.
OVERRIDES = "algorithm_config_overrides_per_module"

_KIND_NAMES = {
    "bool": "true or false",
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "list": "a list",
    "dict": "a mapping",
    "schedule": "a schedule [[0, value], [env steps, value], ..]",
    "null": "null",
}


@dataclass(frozen=True)
class Param:
    """One parameter of an RLlib algorithm.

    Attributes:
        method: the public method of its `AlgorithmConfig` that takes it, such as `training`.
        default: RLlib's own default, None where that cannot be written in JSON.
        kinds: what a value may be, keys of `bool int float str list dict schedule null`.
    """

    method: str
    default: Any
    kinds: tuple[str, ...]


@cache
def known_params(algorithm: str) -> dict[str, Param]:
    """Returns the parameters that `algorithm` takes in an experiment file, by name."""
    text = resources.files("empo_rllib.config").joinpath("rllib_params.json").read_text("utf-8")
    table = json.loads(text)[algorithm]
    return {
        name: Param(entry["method"], entry["default"], tuple(entry["kinds"]))
        for name, entry in table.items()
    }


def params_by_method(algorithm: str, params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Groups `params` by the method of RLlib's `AlgorithmConfig` that takes them.

    Returns:
        `{"training": {"lr": 1e-4}, ..}`, for `getattr(algorithm_config, method)(**values)`.
    """
    known = known_params(algorithm)
    grouped: dict[str, dict[str, Any]] = {}
    for name, value in params.items():
        grouped.setdefault(known[name].method, {})[name] = value
    return grouped


def check_params_of_all(algorithms: Sequence[str], params: Mapping[str, Any]) -> list[Problem]:
    """Returns everything that is wrong with `algorithm.params` for one of several algorithms.

    Args:
        algorithms: what `algorithm.name` may be.
        params: of every one of them.
    """
    if len(algorithms) == 1:
        return check_params(algorithms[0], params)
    takers = {name: _takers(algorithms, value) for name, value in params.items()}
    rules = {name: _not_of_all(takers[name], name) for name in params}
    problems = [Problem((name,), params[name], rule) for name, rule in rules.items() if rule]
    found = {
        algorithm: check_params(
            algorithm,
            {
                name: value
                for name, value in params.items()
                if not rules[name] and algorithm in takers[name]
            },
        )
        for algorithm in algorithms
    }
    for algorithm, own in found.items():
        for problem in own:
            is_of_all = all(problem in others for others in found.values())
            whose = "" if is_of_all else f"\n    This is a rule for {algorithm}."
            problems.append(replace(problem, rule=f"{problem.rule}{whose}"))
    return problems


def _takers(algorithms: Sequence[str], value: Any) -> list[str]:
    """Returns the algorithms that get a value: `when` may keep it from others."""
    wanted = conditions_of(value).get("algorithm.name") if is_search_space(value) else None
    return [name for name in algorithms if wanted in (None, name)] or list(algorithms)


def _not_of_all(algorithms: Sequence[str], name: str) -> str | None:
    """Returns the rule that a parameter breaks which not all of the algorithms have."""
    having = [algorithm for algorithm in algorithms if name in known_params(algorithm)]
    lacking = [algorithm for algorithm in algorithms if algorithm not in having]
    if not lacking:
        return None
    if not having:
        return _unknown(lacking[0], name)
    return (
        f" is a parameter of {', '.join(having)} and not of {', '.join(lacking)}, and "
        "algorithm.name may be all of them.\n    Remove it, use a file for each algorithm, or give "
        f"it a search space with when: {{algorithm.name: {having[0]}}}."
    )


def check_params(algorithm: str, params: Mapping[str, Any]) -> list[Problem]:
    """Returns everything that is wrong with `algorithm.params`, paths relative to it."""
    known = known_params(algorithm)
    problems = []
    for name, value in params.items():
        if name in known:
            problems += _check_value(name, value, known[name])
        else:
            problems.append(Problem((name,), value, _unknown(algorithm, name)))
    if not problems:
        problems = _check_overrides(algorithm, params.get(OVERRIDES, {}))
    sizes = {_BATCH, _MINIBATCH} & params.keys()
    if sizes and sizes.isdisjoint(problem.path[0] for problem in problems):
        problems += _check_minibatch(known, params)
    return problems


def normalize_params(algorithms: Sequence[str], params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `params` with `4.0e3` as the integer 4000 where RLlib wants an integer.

    Args:
        algorithms: those that have all of them.
        params: `algorithm.params`.
    """
    floats = {
        name
        for algorithm in algorithms
        for name, param in known_params(algorithm).items()
        if "float" in param.kinds
    }
    return {name: value if name in floats else integral(value) for name, value in params.items()}


def _unknown(algorithm: str, name: str) -> str:
    place = ALGORITHMS[algorithm].elsewhere.get(name) or ELSEWHERE.get(name)
    if place is None and name.startswith(("evaluation_", "offline_eval")):
        place = "use the top-level key evaluation"
    if place is None:
        suggestion = nearest(name, known_params(algorithm))
        if name in OTHER_NAMES:
            suggestion = f" Did you mean {OTHER_NAMES[name]!r}?"
        return f" is an unknown key: {algorithm} has no such parameter.{suggestion}"
    return f" is not accepted here: {place}."


def _check_value(name: str, value: Any, param: Param) -> list[Problem]:
    if not is_search_space(value):
        rule = _broken_rule(name, value, param)
        return [Problem((name,), value, rule)] if rule else _check_nested(name, value)
    rule = search_space_problem(value)
    if rule:
        return [Problem((name,), value, rule)]
    for option in candidates(value):
        rule = _broken_rule(name, option, param)
        if rule:
            return [Problem((name,), option, rule)]
    if any(_broken_rule(name, fraction, param) for fraction in between(value)):
        return [Problem((name,), value, NEEDS_INTEGERS)]
    return []


def _check_overrides(algorithm: str, overrides: Mapping[str, Any]) -> list[Problem]:
    """Checks the parameters of single policies; the policies' names are not known here."""
    problems = []
    for options in options_of(overrides):
        for policy, given in options.items():
            for params in options_of(given):
                found = _check_params_of_policy(algorithm, params)
                problems += [
                    Problem((OVERRIDES, str(policy), *each.path), each.value, each.rule)
                    for each in found
                ]
    return problems


def _check_params_of_policy(algorithm: str, params: Any) -> list[Problem]:
    if not isinstance(params, dict):
        return [Problem((), params, " must be a mapping of parameters to values.")]
    return [
        problem
        for name, value in params.items()
        for problem in _check_override(algorithm, name, value)
    ]


def _check_override(algorithm: str, name: str, value: Any) -> list[Problem]:
    row, known = ALGORITHMS[algorithm], known_params(algorithm)
    may_differ = row.by_policy | row.by_policy_in_fragments
    if name in may_differ:
        return _check_value(name, value, known[name])
    if name not in known:
        return [Problem((name,), value, _unknown(algorithm, name))]
    rule = (
        f" cannot differ by policy: {algorithm} has one value for all. Move it to algorithm.params."
        f"\n    By policy it takes {', '.join(sorted(may_differ))}."
    )
    return [Problem((name,), value, rule)]


def _check_nested(name: str, value: Any) -> list[Problem]:
    rules = ((*found, search_space_problem(found[1])) for found in find_search_spaces(value))
    return [Problem((name, *path), space, rule) for path, space, rule in rules if rule]


def _broken_rule(name: str, value: Any, param: Param) -> str | None:
    kind = next((kind for kind in param.kinds if _is_kind(value, kind)), None)
    if kind is None:
        return " must be " + " or ".join(_KIND_NAMES[kind] for kind in param.kinds) + "."
    if kind == "str" and value not in CHOICES.get(name, (value,)):
        listed = ", ".join(map(repr, CHOICES[name]))
        return f" must be one of {listed}." + nearest(value, CHOICES[name])
    allowed = RANGES.get(name)
    if allowed is None or kind in ("str", "null", "dict", "bool"):
        return None
    if kind == "schedule":
        good = all(allowed.in_schedule(point[1]) for point in value)
    else:
        numbers = value if kind == "list" else [value]
        good = all(is_number(number) and allowed.holds(number) for number in numbers)
    return None if good else f" must be {allowed.text}."


def _is_kind(value: Any, kind: str) -> bool:
    if kind == "int":
        return is_number(value) and isinstance(integral(value), int)
    if kind == "float":
        return is_number(value)
    if kind == "schedule":
        return _is_schedule(value)
    types = {"bool": bool, "str": str, "list": list, "dict": dict, "null": type(None)}
    return isinstance(value, types[kind])


def _is_schedule(value: Any) -> bool:
    """At least two points and the first at 0: what RLlib's `Scheduler.validate` asks for."""
    if not isinstance(value, list) or len(value) < 2:
        return False
    points = all(
        isinstance(point, list) and len(point) == 2 and all(map(is_number, point))
        for point in value
    )
    return points and value[0][0] == 0


def _check_minibatch(known: Mapping[str, Param], params: Mapping[str, Any]) -> list[Problem]:
    """RLlib cuts each learner's batch into minibatches, so the batch must hold at least one."""
    minibatches = _sizes(_MINIBATCH, known, params)
    if not minibatches or max(minibatches) <= min(_sizes(_BATCH, known, params)):
        return []
    whose = "" if _MINIBATCH in params else " (RLlib's default)"
    batch = min(_sizes(_BATCH, known, params))
    rule = f"{whose} exceeds {_BATCH} = {batch:g}.\n    Lower the first or raise the second."
    return [Problem((_MINIBATCH,), max(minibatches), rule)]


def _sizes(name: str, known: Mapping[str, Param], params: Mapping[str, Any]) -> list[float]:
    """Returns every size that a trial may have; none where it is null or does not exist."""
    if name not in known:
        return []
    values = [params.get(name, known[name].default)]
    if is_search_space(values[0]) and conditions_of(values[0]):
        values.append(known[name].default)
    return [option for value in values for option in options_of(value) if option is not None]
