"""Agents that always see the same: nothing can be learned from that."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

_LOG = logging.getLogger(__name__)

_FIRST_STEPS = 60
# Less often seen, an agent is not judged.
_FEWEST_LOOKS = 20


class FirstSeen:
    """Compares what agents see with what they saw first.

    Attributes:
        looks: how often each agent was looked at.
    """

    def __init__(self) -> None:
        self.looks: dict[str, int] = {}
        self._first: dict[str, list[np.ndarray]] = {}
        self._varied: set[str] = set()

    def look(self, observations: Mapping[str, Any]) -> None:
        """Takes the next observations, nested as they may be."""
        for agent, seen in observations.items():
            self.looks[agent] = self.looks.get(agent, 0) + 1
            if agent in self._varied:
                continue
            numbers = _numbers(seen)
            if not _same(self._first.setdefault(agent, numbers), numbers):
                self._varied.add(agent)

    def unchanged(self) -> list[str]:
        """Returns the agents that have only ever seen the same."""
        return [agent for agent in self._first if agent not in self._varied]


class ConstantWatch:
    """Logs a warning of the agents that saw the same in the first steps of training.

    Attributes:
        over: all steps that matter have been looked at.
    """

    def __init__(self) -> None:
        self._seen = FirstSeen()
        self._left = _FIRST_STEPS
        self.over = False

    def look(self, observations: Mapping[str, Any]) -> None:
        """Takes the observations of the next step, until it is `over`."""
        if self.over:
            return
        self._seen.look(observations)
        self._left -= 1
        if not self._left:
            self.over = True
            self._warn()

    def _warn(self) -> None:
        looks = self._seen.looks
        agents = [agent for agent in self._seen.unchanged() if looks[agent] >= _FEWEST_LOOKS]
        if agents:
            _LOG.warning(
                "the observations of %s were the same in the first %d steps of training, so "
                "there is nothing to learn from. `python -m empo_rllib doctor` examines the "
                "environment; some need a `render_mode` to draw what agents see.",
                ", ".join(sorted(agents)),
                _FIRST_STEPS,
            )


def _numbers(seen: Any) -> list[np.ndarray]:
    """Returns copies of an observation's arrays and numbers."""
    if isinstance(seen, Mapping):
        seen = list(seen.values())
    if isinstance(seen, list | tuple):
        return [array for part in seen for array in _numbers(part)]
    return [np.array(seen)]


def _same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return len(first) == len(second) and all(
        np.array_equal(a, b) for a, b in zip(first, second, strict=True)
    )
