"""An environment that raises must end its trial, with its own traceback.

RLlib restarts remote env runners whatever they died of, so an environment that raises in every
episode would be restarted for ever, and its traceback would stay in a log of the actor. Here the
traceback is written to a file of the trial first, and a restart after one ends the trial. Of what
this package refuses itself (`EnvError`, such as a NaN reward) the message is enough. Runners
that die of anything else (a killed process, a lost node) are still restarted.
"""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from empo_rllib.envs.constant import ConstantWatch
from empo_rllib.envs.env_warnings import keep_warnings
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.envs.slow_calls import watch
from empo_rllib.errors import EnvError, TrialError
from empo_rllib.files import write_whole

#: In place of a file that nobody reads.
NOWHERE = Path(os.devnull)


class ReportingEnv(ParallelMultiAgentEnv):
    """A `ParallelMultiAgentEnv` for RLlib's own env runner.

    It leaves the traceback of its first error in a file, warns of constant observations, and
    refuses what RLlib's episodes would take for something else.
    """

    def __init__(self, error_file: Path, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._error_file = error_file
        self._constant_watch = ConstantWatch()
        keep_warnings(error_file.parent)

    def reset(self, **kwargs: Any) -> Any:
        """As `ParallelMultiAgentEnv.reset`."""
        with reporting_env_errors(self._error_file, "reset"):
            parts = super().reset(**kwargs)
        self._constant_watch.look(parts[0])
        return parts

    def step(self, action_dict: dict[str, Any]) -> Any:
        """As `ParallelMultiAgentEnv.step`."""
        known = set(self._last_seen)
        with reporting_env_errors(self._error_file, "step"):
            parts = super().step(action_dict)
            if known <= self._gone and self._there:
                raise EnvError(
                    f"{self._name()}: in step {self._episode_step} of an episode all agents ended "
                    f"that had been there, and {', '.join(self._there)} joined. RLlib's episodes "
                    "end with that. PPO can play on: resources.sampler: python."
                )
        self._constant_watch.look(parts[0])
        return parts


@contextlib.contextmanager
def reporting_env_errors(error_file: Path, method: str) -> Iterator[None]:
    """Is `reporting_errors`; a call that does not return is reported beside that file."""
    if error_file == NOWHERE:
        yield
        return
    watch.begin(error_file.parent, method)
    try:
        with reporting_errors(error_file, f"the environment raised in {method}()"):
            yield
    finally:
        watch.end()


@contextlib.contextmanager
def reporting_errors(error_file: Path, what: str) -> Iterator[None]:
    """Writes what an error says to `error_file`, unless one is there, and lets it pass."""
    try:
        yield
    except Exception as error:
        if not error_file.exists():
            text = f"{what}:\n{traceback.format_exc()}"
            write_whole(error_file, f"{error}\n" if isinstance(error, EnvError) else text)
        raise


def raise_env_error(error_file: Path, **_: Any) -> None:
    """Raises `TrialError` with the traceback that `reporting_env_errors` left, if there is one.

    Also RLlib's `on_env_runners_recreated` callback.
    """
    if error_file.exists():
        raise TrialError(error_file.read_text())
