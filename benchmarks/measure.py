"""One measurement: an experiment trained in a process of its own, without Tune.

    python -m benchmarks.measure TASK.json RESULT.json

`measure` starts that process and watches its memory, and that of the Ray processes below it, from
outside.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_POLL_S = 0.5
_ROW_KEYS = ("env_steps", "agent_steps", "episodes", "time_s", "episode_return_mean")
_OPTIONAL_KEYS = ("episode_length_mean", "success_rate")


@dataclass(frozen=True)
class Task:
    """What to train and for how long.

    Attributes:
        experiment: the experiment file's content; its `stop` section counts.
        iterations: training iterations after which to stop in any case.
        iterations_after_stop: training iterations to add when a limit of `stop` was reached.
        sampling_only: call the env runner's `sample` and learn nothing, on one core.
        torch_threads: of the training process.
    """

    experiment: dict[str, Any]
    iterations: int | None = None
    iterations_after_stop: int = 0
    sampling_only: bool = False
    torch_threads: int = 1


def measure(task: Task) -> dict[str, Any]:
    """Runs the task in a fresh process.

    Returns:
        `rows`, one dict per training iteration; `sampler`, what was chosen and why; `memory_mb`
        and `process_memory_mb`, the highest proportional set size of all its processes and of
        the training process alone; `load`, the machine's load average before it started.

    Raises:
        RuntimeError: the process failed; with its last lines.
    """
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="empo-bench-") as name:
        folder = Path(name)
        task_file, result_file = folder / "task.json", folder / "result.json"
        task_file.write_text(json.dumps(asdict(task)))
        with (folder / "log.txt").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.measure", str(task_file), str(result_file)],
                stdout=log,
                stderr=log,
                env=_environment(task.torch_threads),
            )
            try:
                memory = _watch(process)
            finally:
                process.kill()
        if process.returncode:
            raise RuntimeError((folder / "log.txt").read_text()[-3000:])
        result: dict[str, Any] = json.loads(result_file.read_text())
    return {**result, **memory, "load": round(load, 2)}


def _environment(torch_threads: int) -> dict[str, str]:
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(torch_threads)
    )
    # Whoever reaches an open Ray port runs code here.
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return {**os.environ, **threads, **token, "PYTHONHASHSEED": "0"}


def _watch(process: subprocess.Popen) -> dict[str, float]:
    """Waits for the process; returns its highest memory and that of its whole tree, in MB."""
    import ray  # noqa: F401  # brings psutil with it
    from psutil import Error, Process

    highest = {"memory_mb": 0.0, "process_memory_mb": 0.0}
    while process.poll() is None:
        try:
            main = Process(process.pid)
            own = main.memory_full_info().pss / 2**20
            below = sum(_pss_mb(child) for child in main.children(recursive=True))
        except Error:  # it has just ended
            break
        highest["process_memory_mb"] = max(highest["process_memory_mb"], own)
        highest["memory_mb"] = max(highest["memory_mb"], own + below)
        time.sleep(_POLL_S)
    process.wait()
    return {key: round(value, 1) for key, value in highest.items()}


def _pss_mb(process: Any) -> float:
    from psutil import Error

    try:
        return process.memory_full_info().pss / 2**20
    except Error:
        return 0.0


class Stopwatch:
    """Adds up the seconds spent in a method of one object.

    RLlib's own timers are running means over iterations, which the first one dominates.
    """

    def __init__(self, owner: Any, method: str) -> None:
        self.seconds = 0.0
        self._call: Callable[..., Any] = getattr(owner, method)
        setattr(owner, method, self._timed)

    def _timed(self, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return self._call(*args, **kwargs)
        finally:
            self.seconds += time.perf_counter() - started

    def take(self) -> float:
        """Returns the seconds since the last call of this."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds


def _run(task: Task) -> dict[str, Any]:
    from empo_rllib.experiment.cluster import quiet_ray

    quiet_ray()
    import ray
    import torch

    from benchmarks.stock import check_is_stock
    from empo_rllib.algorithms.builder import build_algorithm_config
    from empo_rllib.algorithms.setup import set_up_trial
    from empo_rllib.config.schema import ExperimentConfig
    from empo_rllib.experiment.trial import seed_everything

    torch.set_num_threads(task.torch_threads)
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    config = ExperimentConfig.model_validate(task.experiment)
    seed_everything(config.seed)
    setup = set_up_trial(config)
    started = time.perf_counter()
    algorithm = build_algorithm_config(setup).build_algo()
    build_s = time.perf_counter() - started
    if setup.sampler.name == "rllib":
        check_is_stock(algorithm)
    rows = _sample(algorithm, task) if task.sampling_only else _train(algorithm, config, task)
    algorithm.stop()
    ray.shutdown()
    threads = {"torch_threads": torch.get_num_threads()}
    return {"sampler": asdict(setup.sampler), **threads, "build_s": round(build_s, 2), "rows": rows}


def _train(algorithm: Any, config: Any, task: Task) -> list[dict[str, Any]]:
    from empo_rllib.experiment.metrics import Counters, add_episodes, build_row, stop_reason
    from empo_rllib.sampling.episode_window import EpisodeWindow

    rows: list[dict[str, Any]] = []
    counters, after_stop = Counters(), 0
    window = EpisodeWindow(algorithm.config.metrics_num_episodes_for_smoothing)
    sampling = Stopwatch(algorithm.env_runner, "sample")
    learning = Stopwatch(algorithm.learner_group, "update")
    while len(rows) != task.iterations:
        before, cpu_before, started = asdict(counters), time.process_time(), time.perf_counter()
        result = algorithm.train()
        seconds = time.perf_counter() - started
        cpu_s = time.process_time() - cpu_before
        counters.advance(result, seconds)
        add_episodes(window, result, counters, algorithm)
        new_env_steps = counters.env_steps - before["env_steps"]
        row = build_row(result, counters, window, seconds, new_env_steps)
        rows.append(
            {key: row.get(key) for key in _ROW_KEYS}
            | {key: row[key] for key in _OPTIONAL_KEYS if key in row}
            | {
                "new_env_steps": new_env_steps,
                "new_agent_steps": counters.agent_steps - before["agent_steps"],
                "seconds": seconds,
                "cpu_s": cpu_s,
                "sample_s": sampling.take(),
                "learn_s": learning.take(),
                "after_stop": after_stop > 0,
                **_distinct_share(result),
            }
        )
        if after_stop or stop_reason(config.stop, row, window.earlier_return_mean()):
            after_stop += 1
            if after_stop > task.iterations_after_stop:
                break
    return [{key: _rounded(value) for key, value in row.items()} for row in rows]


def _distinct_share(result: dict[str, Any]) -> dict[str, float]:
    """The share of distinct observations that the learner reports, mean over policies."""
    shares = [
        float(stats["unique_observations"])
        for stats in result.get("learners", {}).values()
        if "unique_observations" in stats
    ]
    return {"distinct_observations": sum(shares) / len(shares)} if shares else {}


def _sample(algorithm: Any, task: Task) -> list[dict[str, Any]]:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = []
    for _ in range(task.iterations or 1):
        cpu_before, started = time.process_time(), time.perf_counter()
        samples = algorithm.env_runner.sample()
        seconds = time.perf_counter() - started
        cpu_s = time.process_time() - cpu_before
        algorithm.env_runner.get_metrics()
        rows.append(
            {
                "new_env_steps": sum(len(sample) for sample in samples),
                "seconds": seconds,
                "cpu_s": cpu_s,
                "sample_s": seconds,
            }
        )
    return rows


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 6)
    return value


if __name__ == "__main__":
    task_file, result_file = map(Path, sys.argv[1:])
    measured = _run(Task(**json.loads(task_file.read_text())))
    result_file.write_text(json.dumps(measured))
