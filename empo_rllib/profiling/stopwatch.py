"""Measures how long a process spends in each phase."""

from __future__ import annotations

import functools
import importlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from empo_rllib.profiling.phases import PHASES


class PhaseClock:
    """Adds up the time of nested calls by phase: an inner phase's is not its outer one's.

    Threads count their calls each: together they may be longer than the time that passed.

    Args:
        now: tells the time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._now, self._threads = now, threading.local()

    def counting(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns `function` with its time counted for `phase`."""

        @functools.wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            within = getattr(self._threads, "phase", None)
            self._turn_to(phase)
            try:
                return function(*args, **kwargs)
            finally:
                self._turn_to(within)

        return counted

    def _turn_to(self, phase: str | None) -> None:
        now, own = self._now(), self._threads
        before = getattr(own, "phase", None)
        if before is not None:
            self.seconds[before] += now - own.since
        own.phase, own.since = phase, now


@dataclass(frozen=True)
class ProcessTimes:
    """What a process did in a stretch of time.

    Attributes:
        wall_s: how long that was.
        cpu_s: CPU time of all its threads.
        phases: seconds by phase.
    """

    wall_s: float
    cpu_s: float
    phases: Mapping[str, float]


class Stopwatch:
    """Counts the phases of this process from its making until `stop`."""

    running: Stopwatch | None = None

    def __init__(self) -> None:
        clock = self._clock = PhaseClock()
        self._replaced: list[tuple[Any, str, Any]] = []
        for phase, functions in PHASES.items():
            for function in functions:
                holder, name = find(function)
                self._replaced.append((holder, name, vars(holder).get(name)))
                setattr(holder, name, clock.counting(phase, getattr(holder, name)))
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def stop(self) -> ProcessTimes:
        """Puts the functions back; returns what was counted."""
        wall_s, cpu_s = time.perf_counter() - self._wall, time.process_time() - self._cpu
        for holder, name, own in self._replaced:
            if own is None:  # a method that is inherited
                delattr(holder, name)
            else:
                setattr(holder, name, own)
        return ProcessTimes(wall_s, cpu_s, dict(self._clock.seconds))


def start_stopwatch(_: Any = None) -> None:
    """Starts the stopwatch of this process."""
    Stopwatch.running = Stopwatch()


def stop_stopwatch(_: Any = None) -> ProcessTimes:
    """Stops it."""
    watch, Stopwatch.running = Stopwatch.running, None
    assert watch is not None
    return watch.stop()


def find(function: str) -> tuple[Any, str]:
    """Returns what holds a function of `PHASES`, and its name there."""
    module, _, path = function.partition(":")
    holder: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    return functools.reduce(getattr, parents, holder), name


def mean_times(times: Sequence[ProcessTimes], iterations: int) -> ProcessTimes:
    """Returns the means of processes that do the same, in one of `iterations`."""
    count = len(times) * iterations
    return ProcessTimes(
        sum(one.wall_s for one in times) / count,
        sum(one.cpu_s for one in times) / count,
        {phase: sum(one.phases.get(phase, 0.0) for one in times) / count for phase in PHASES},
    )
