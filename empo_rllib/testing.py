"""For authors of environments: the examination of `doctor` as a check in a test."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from empo_rllib.doctor.report import Report

# Enough to meet what is wrong in most episodes, and soon over.
_EPISODES, _ENV_STEPS, _PLAY_S = 10, 2_000, 3.0


def check_env(env: Any, *, ignore: Collection[str] = ()) -> Report:
    """Plays an environment with random actions, and fails where policies could not learn in it.

    ```python
    from empo_rllib.testing import check_env

    def test_the_maze_is_fit_for_training():
        check_env(lambda: Maze(size=7))
    ```

    It takes a few seconds, and needs neither Ray nor a display.

    Args:
        env: an `env.id` (`"my_envs:make_maze"`), a class or function that makes the environment, or
            an environment, of which copies are played. Of any kind that training takes: a
            `ParallelEnv`, an `AECEnv`, a `MultiGridEnv`, a `MultiAgentEnv`, a `gymnasium.Env`.
        ignore: names of findings that are no errors here; docs/doctor.md lists them all.

    Returns:
        What `python -m empo_rllib doctor` prints, as data: `findings` has warnings and notes too.

    Raises:
        AssertionError: there are errors; the message has for each what was seen, the rule, the cure
            and the line to change.
        EnvError: there is no environment to examine.
    """
    from empo_rllib.config.load import validate_config
    from empo_rllib.doctor.examine import examine
    from empo_rllib.doctor.limits import Limits

    make = None if isinstance(env, str) else _maker(env)
    name = env if isinstance(env, str) else _name_of(env)
    config = validate_config({"name": "check", "env": {"id": name}, "algorithm": {"name": "PPO"}})
    limits = Limits(episodes=_EPISODES, env_steps=_ENV_STEPS, play_s=_PLAY_S, call_s=5.0)
    report = examine(config, limits, make)
    errors = [one for one in report.findings if one.level == "error" and one.name not in ignore]
    if errors:
        told = (
            f"{one.name} ({one.place})\n  seen: {one.seen}\n  rule: {one.rule}\n  cure: {one.cure}"
            for one in errors
        )
        raise AssertionError("\n".join([f"{name} is not fit for training:", *told]))
    return report


def _maker(env: Any) -> Callable[[], Any]:
    from empo_rllib.envs.sources import adapt

    def make() -> Any:
        return adapt(_name_of(env), env() if callable(env) else copy.deepcopy(env))

    return make


def _name_of(env: Any) -> str:
    while isinstance(env, functools.partial):
        env = env.func
    named = env if hasattr(env, "__qualname__") else type(env)
    return f"{named.__module__}:{named.__qualname__}"
