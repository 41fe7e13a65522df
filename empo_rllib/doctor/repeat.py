"""The same seed gives the same episodes: alone, later, and beside other copies."""

from __future__ import annotations

import contextlib
import copy
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from empo_rllib.doctor.episode import CheckedEpisode, RandomActions
from empo_rllib.doctor.findings import Findings, GaveUp
from empo_rllib.doctor.limits import Limits
from empo_rllib.doctor.subject import Subject
from empo_rllib.doctor.transitions import RESET_PARTS, STEP_PARTS

Make = Callable[[Findings], Subject]
#: A call (`reset(7)`, `step 3`), who was there after it, and what it returned but the infos.
Record = tuple[str, list[str], tuple[Any, ...]]

_SEED = 7
_LATER_RESET = "a later reset() without a seed"


def check_repeats(make: Make, limits: Limits, findings: Findings) -> None:
    """Plays the same again: with another copy, with the same copy, and beside a second one.

    The global generators are put back to one state before each, so that a use of them is found
    as such, and not as an episode that differs.

    Args:
        make: makes a copy of the environment.
        limits: when to stop.
        findings: where differences go.

    Raises:
        GaveUp: the environment cannot be played on.
    """
    with _global_state(), contextlib.closing(make(findings)) as subject:
        first = _play(subject, limits)
        with contextlib.closing(make(findings)) as other:
            if difference := _difference(first, _play(other, limits, len(first))):
                _note_difference(difference, findings)
                return
        if difference := _difference(first, _play(subject, limits, len(first))):
            seen = f"after other episodes of the same copy, {difference}"
            findings.add("state-survives-reset", seen)
        if "global-rng-used" in findings:  # which copies share, as is known then
            return
        if difference := _difference_beside(make, first, limits, findings):
            findings.add("instances-share-state", f"beside a second copy, {difference}")


def _note_difference(difference: str, findings: Findings) -> None:
    name = "seed-ignored" if difference.startswith("reset(") else "not-deterministic"
    place = findings.places.of_method("step" if difference.startswith("step") else "reset")
    findings.add(name, f"of two copies with the same seed and actions, {difference}", place)


def _difference_beside(
    make: Make, first: list[Record], limits: Limits, findings: Findings
) -> str | None:
    """Tells what is different when a second copy is played, with another seed, in turns."""
    # What breaks here breaks because of the other copy, and must not get another name.
    scratch = Findings(findings.places)
    with contextlib.closing(make(scratch)) as subject, contextlib.closing(make(scratch)) as other:
        try:
            moves = _moves(other, _SEED + 1)
            return _difference(first, _play(subject, limits, len(first), beside=moves))
        except GaveUp:
            return next(finding.seen for finding in scratch)


def _play(
    subject: Subject, limits: Limits, length: int | None = None, beside: Iterator[Any] | None = None
) -> list[Record]:
    """Plays a seeded episode, those after it as far as the limits go, and one more reset.

    Args:
        subject: the environment.
        limits: when to stop, if there is no `length`.
        length: how many calls to record.
        beside: moves of another copy, one of which is made after each call.
    """
    np.random.seed(_SEED)
    random.seed(_SEED)
    ends_at = time.monotonic() + limits.repeat_s
    records: list[Record] = []
    for record in _moves(subject, _SEED):
        records.append(record)
        late = len(records) > limits.repeat_steps or time.monotonic() > ends_at
        if late if length is None else len(records) >= length - 1:
            break
        if beside is not None:
            next(beside)
    return [*records, _record(_LATER_RESET, CheckedEpisode(subject), subject)]


def _moves(subject: Subject, seed: int) -> Iterator[Record]:
    """Plays on for ever, each call when it is asked for."""
    actions = RandomActions(subject, seed)
    call = f"reset({seed})"
    given: int | None = seed
    steps = 0
    while True:
        with _watching_global_state(subject.findings, "reset"):
            episode = CheckedEpisode(subject, given)
        yield _record(call, episode, subject)
        while episode.present:
            steps += 1
            with _watching_global_state(subject.findings, "step"):
                episode.step(actions.draw(episode))
            yield _record(f"step {steps}", episode, subject)
        call, given = _LATER_RESET, None


def _record(call: str, episode: CheckedEpisode, subject: Subject) -> Record:
    # Infos may hold times and other things that nothing is learned from.
    return call, list(episode.present), copy.deepcopy(subject.last_returned[:-1])


def _difference(first: list[Record], second: list[Record]) -> str | None:
    """Tells where two records differ first."""
    for (call, present, returned), (_, others, other) in zip(first, second, strict=False):
        if present != others:
            return f"{call} left {present} and {others} in agents"
        parts = RESET_PARTS if len(returned) < len(RESET_PARTS) else STEP_PARTS
        for part, value, other_value in zip(parts, returned, other, strict=False):
            if not _equal(value, other_value):
                return f"{call} returned other {part}"
    return None


def _equal(first: Any, second: Any) -> bool:
    """Compares nested values exactly; NaN equals NaN."""
    try:
        np.testing.assert_equal(first, second)
    except (AssertionError, ValueError, TypeError):
        return False
    return True


@contextlib.contextmanager
def _global_state() -> Iterator[None]:
    """Gives the process its global generators back as they were."""
    numbers, state = np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        np.random.set_state(numbers)
        random.setstate(state)


@contextlib.contextmanager
def _watching_global_state(findings: Findings, method: str) -> Iterator[None]:
    before = _generators()
    yield
    for name, state in _generators().items():
        if state != before[name]:
            seen = f"{method}() drew from {name}"
            findings.add("global-rng-used", seen, findings.places.of_method(method))


def _generators() -> dict[str, Any]:
    numbers: Any = np.random.get_state()
    kind, keys, *rest = numbers
    return {"numpy.random": (kind, keys.tobytes(), *rest), "random": random.getstate()}
