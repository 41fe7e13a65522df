"""What was found, one entry for each kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from empo_rllib.doctor.kinds import KINDS, LEVELS, Level, level_of
from empo_rllib.doctor.places import Places


class GaveUp(Exception):
    """The environment cannot be played on; a finding says why."""


@dataclass
class Finding:
    """One thing that is wrong with an environment.

    Attributes:
        name: of its kind, in `KINDS`.
        level: how bad it is.
        seen: what was seen first: moment, agent, value.
        rule: what it breaks.
        cure: what to change.
        place: `file:line` to change, or "" where the source cannot be found.
        count: how many times it was seen.
    """

    name: str
    level: Level
    seen: str
    rule: str
    cure: str
    place: str
    count: int = 1


class Findings:
    """Collects findings.

    Args:
        places: finds the lines to change.
    """

    def __init__(self, places: Places) -> None:
        self.places = places
        self._found: dict[str, Finding] = {}

    def add(self, name: str, seen: str, place: str = "") -> None:
        """Adds a finding; of each kind the first is kept, and the others are counted."""
        if name in self._found:
            self._found[name].count += 1
            return
        kind = KINDS[name]
        place = place or self.places.of_method(kind.method)
        self._found[name] = Finding(name, level_of(name), seen, kind.rule, kind.cure, place)

    def __iter__(self) -> Iterator[Finding]:
        """Yields the findings, the worst first."""
        return iter(sorted(self._found.values(), key=lambda found: LEVELS.index(found.level)))

    def __contains__(self, name: str) -> bool:
        return name in self._found
