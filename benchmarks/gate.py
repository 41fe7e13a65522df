"""The share of training that goes into checking and converting what passes an environment.

    python -m benchmarks.gate                            # CartPole, simple_spread, Empty-8x8
    python -m benchmarks.gate 'sisl/pursuit-v5'          # any ids; needs their packages

Trains PPO on the sampler `python` and times the methods of `ParallelMultiAgentEnv` through which
every step passes, inside their process. The timers take time too: a column has the share without
it, by what timers take around a function that does nothing.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from empo_rllib.algorithms.builder import build_algorithm_config
from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.config.load import validate_config
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv

_IDS = ("CartPole-v1", "mpe2.simple_spread_v3", "MultiGrid-Empty-8x8-v0")
_METHODS = ("_actions_for_env", "_present", "_refuse_wrong_observations", "_rewards")
_TIMED_ITERATIONS = 7


class Timer:
    """Adds up the seconds and calls of functions."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls = 0

    def around(self, function: Callable) -> Callable:
        """Returns `function`, timed."""

        def timed(*args: Any) -> Any:
            started = time.perf_counter()
            result = function(*args)
            self.seconds += time.perf_counter() - started
            self.calls += 1
            return result

        return timed

    def take(self) -> tuple[float, int]:
        """Returns the seconds and calls since the last time."""
        taken = self.seconds, self.calls
        self.seconds, self.calls = 0.0, 0
        return taken


@contextmanager
def timed_gate() -> Iterator[Timer]:
    """Times the gate of all environments of this process."""
    timer = Timer()
    originals = {name: getattr(ParallelMultiAgentEnv, name) for name in _METHODS}
    for name, method in originals.items():
        setattr(ParallelMultiAgentEnv, name, timer.around(method))
    try:
        yield timer
    finally:
        for name, method in originals.items():
            setattr(ParallelMultiAgentEnv, name, method)


def timer_seconds(calls: int = 100_000) -> float:
    """Returns what a timer finds in one call of a function that does nothing."""
    timer = Timer()
    nothing = timer.around(lambda env, argument: None)
    for _ in range(calls):
        nothing(None, None)
    return timer.seconds / calls


def shares(env_id: str) -> list[tuple[float, float]]:
    """Returns the gate's share of each iteration, with and without the timers."""
    config = validate_config(
        {
            "name": "gate",
            "env": {"id": env_id},
            "policies": "shared",
            "algorithm": {
                "name": "PPO",
                "params": {
                    "train_batch_size_per_learner": 1000,
                    "minibatch_size": 250,
                    "num_epochs": 4,
                },
            },
            "resources": {"sampler": "python", "num_envs_per_env_runner": 8},
        }
    )
    empty_call_s = timer_seconds()
    found = []
    with timed_gate() as timer, tempfile.TemporaryDirectory(prefix="empo-gate-") as folder:
        built = build_algorithm_config(set_up_trial(config), env_error_file=Path(folder) / "error")
        algorithm = built.build_algo()
        for iteration in range(1 + _TIMED_ITERATIONS):
            timer.take()
            started = time.perf_counter()
            algorithm.train()
            iteration_s = time.perf_counter() - started
            gate_s, calls = timer.take()
            if iteration:  # the first compiles and allocates
                found.append((gate_s / iteration_s, (gate_s - calls * empty_call_s) / iteration_s))
        algorithm.stop()
    return found


def main() -> None:
    """Prints a table of Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("ids", nargs="*", default=_IDS, help="environments; default: %(default)s")
    print(f"| environment | share, median of {_TIMED_ITERATIONS} | without timers | highest |")
    print("| --- | ---: | ---: | ---: |")
    for env_id in parser.parse_args().ids:
        timed, without = zip(*shares(env_id), strict=True)
        numbers = statistics.median(timed), statistics.median(without), max(timed)
        print(f"| `{env_id}` |", " | ".join(f"{100 * n:.1f} %" for n in numbers), "|", flush=True)


if __name__ == "__main__":
    main()
