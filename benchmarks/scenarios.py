"""What `benchmarks.throughput` measures: set-ups side by side, and the bars they are held to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.measure import Task
from benchmarks.stock import STOCK_ENVS, stock, stock_name
from empo_rllib.config.load import load_config

MAIN_JOB = Path(__file__).resolve().parents[1] / "tune_configs" / "ppo.yaml"
# 15 take minutes. Fewer favour stock, which slows down as it learns and its episodes get shorter.
STOCK_ONE_ENV_ITERATIONS = 6
_NO_STOP = ("stop.env_steps=null", "stop.episode_return_mean=null", "stop.time_s=7200")
_BATCHED, _PYTHON = "resources.sampler=batched", "resources.sampler=python"
_NO_DEDUPLICATION = "algorithm.params.learner_config_dict={deduplicate: false}"
_RATE = "env_steps_per_s"


@dataclass(frozen=True)
class Bar:
    """A figure of one set-up, alone or divided by another, and what it must be.

    Attributes:
        text: what is compared.
        figure: set-up and figure (a key of `summary.figures`).
        against: set-up and figure to divide by, within the same repeat.
        at_least: the bar from below.
        at_most: the bar from above.
        aim: beyond the bar.
    """

    text: str
    figure: tuple[str, str]
    against: tuple[str, str] | None = None
    at_least: float | None = None
    at_most: float | None = None
    aim: float | None = None


@dataclass(frozen=True)
class Scenario:
    """Set-ups that are measured alternately.

    Attributes:
        text: what is measured.
        tasks: what to run, by the name of the set-up.
        bars: what to compare.
        window: first and last training iteration that count.
    """

    text: str
    tasks: Mapping[str, Task]
    bars: tuple[Bar, ...]
    window: tuple[int, int] = (2, 15)

    def limited(self, iterations: int, torch_threads: int) -> Scenario:
        """Returns the same with at most so many iterations, and so many torch threads."""
        tasks = {
            name: replace(
                task,
                iterations=task.iterations and min(task.iterations, iterations),
                iterations_after_stop=min(task.iterations_after_stop, iterations - 1),
                torch_threads=torch_threads,
            )
            for name, task in self.tasks.items()
        }
        return replace(self, tasks=tasks, window=(self.window[0], min(self.window[1], iterations)))


def load_scenarios() -> dict[str, Scenario]:
    """Returns all of them by name, made from the main job."""
    return {
        "empty-8x8": _main_job(),
        "empty-random-6x6": _against_stock("MultiGrid-Empty-Random-6x6-v0"),
        "playground": _against_stock("MultiGrid-Playground-v0"),
        "upstream-cnn": _upstream_cnn(),
        "many-agents": _many_agents(),
        "sampling": _sampling(),
        "convergence": _convergence(),
    }


def _task(*overrides: str, iterations: int = 15) -> Task:
    config = load_config(MAIN_JOB, [*_NO_STOP, *overrides])
    return Task(experiment=config.to_dict(), iterations=iterations)


def _stock_task(num_envs: int, *overrides: str, iterations: int = 15) -> Task:
    task = _task(*overrides, iterations=iterations)
    return replace(task, experiment=stock(task.experiment, num_envs))


def _main_job() -> Scenario:
    tasks = {
        "batched": _task(_BATCHED),
        "batched, no deduplication": _task(_BATCHED, _NO_DEDUPLICATION),
        "python envs": _task(_PYTHON),
    }
    for num_envs in STOCK_ENVS:
        iterations = STOCK_ONE_ENV_ITERATIONS if num_envs == 1 else 15
        tasks[stock_name(num_envs)] = _stock_task(num_envs, iterations=iterations)
    bars = [
        Bar(
            f"batched against {stock_name(num_envs)}",
            ("batched", _RATE),
            (stock_name(num_envs), _RATE),
            at_least=bar,
            aim=aim,
        )
        for num_envs, bar, aim in zip(STOCK_ENVS, (20, 8, 6), (30, 10, 8), strict=True)
    ]
    for name in ("batched, no deduplication", "python envs"):
        bars.append(_stock_bar(name, at_least=5))
    for name in ("batched", "python envs"):
        bars.append(
            Bar(
                f"memory, {name} against stock, 8 envs",
                (name, "memory_mb"),
                ("stock, 8 envs", "memory_mb"),
                at_most=1,
            )
        )
    text = "Empty-8x8, 2 agents with a policy each (tune_configs/ppo.yaml), default network"
    return Scenario(text, tasks, tuple(bars))


def _stock_bar(name: str, at_least: float) -> Bar:
    return Bar(
        f"{name} against stock, 8 envs",
        (name, _RATE),
        ("stock, 8 envs", _RATE),
        at_least=at_least,
    )


def _against_stock(env_id: str) -> Scenario:
    env = f"env.id={env_id}"
    tasks = {"batched": _task(_BATCHED, env), "stock, 8 envs": _stock_task(8, env)}
    text = f"{env_id}, else the main job"
    return Scenario(text, tasks, (_stock_bar("batched", at_least=5),))


def _upstream_cnn() -> Scenario:
    model = "model.class=benchmarks.upstream_cnn:UpstreamCNN"
    tasks = {
        "batched": _task(_BATCHED, model),
        "batched, no deduplication": _task(_BATCHED, model, _NO_DEDUPLICATION),
        "stock, 8 envs": _stock_task(8, model),
    }
    text = "the main job with the CNN of multigrid's repository as a user's RLModule"
    return Scenario(text, tasks, (_stock_bar("batched", at_least=4),))


def _many_agents() -> Scenario:
    env = ("env.id=MultiGrid-Empty-16x16-v0", "policies=shared", _BATCHED)
    tasks = {f"{n} agents": _task(*env, f"env.num_agents={n}") for n in (2, 32)}
    bar = Bar(
        "agent steps/s, 32 agents against 2",
        ("32 agents", "agent_steps_per_s"),
        ("2 agents", "agent_steps_per_s"),
        at_least=1,
    )
    return Scenario("Empty-16x16, one policy shared by all agents", tasks, (bar,))


def _sampling() -> Scenario:
    tasks = {
        "batched": replace(_task(_BATCHED), sampling_only=True),
        "python envs": replace(_task(_PYTHON), sampling_only=True),
        "stock, 8 envs": replace(_stock_task(8), sampling_only=True),
    }
    bar = Bar("env steps/s", ("batched", _RATE), at_least=25_000, aim=60_000)
    return Scenario("the env runner's sample() alone, on one core, random weights", tasks, (bar,))


def _convergence() -> Scenario:
    """From random weights to the main job's return, and 14 iterations more."""
    until_return = "stop.episode_return_mean=1.9"
    tasks = {
        name: replace(_task(sampler, until_return), iterations=None, iterations_after_stop=14)
        for name, sampler in (("batched", _BATCHED), ("python envs", _PYTHON))
    }
    bar = Bar(
        "env steps/s after return 1.9 against iterations 2 to 5",
        ("batched", "converged_env_steps_per_s"),
        ("batched", _RATE),
        at_least=0.9,
    )
    return Scenario("Empty-8x8, short episodes against long ones", tasks, (bar,), window=(2, 5))
