"""The environment under examination: whatever its methods do, the examination goes on."""

from __future__ import annotations

import contextlib
import cProfile
import io
import re
import time
from collections.abc import Callable
from typing import Any

from pettingzoo import ParallelEnv

from empo_rllib.doctor.findings import Findings, GaveUp
from empo_rllib.doctor.limits import TimeUp, time_limit
from empo_rllib.envs.arguments import describe
from empo_rllib.envs.observations import short

_REFUSED = re.compile(r"got an unexpected keyword argument '(seed|options)'")


class Subject:
    """An environment whose calls are bounded and timed, and whose errors become findings.

    Args:
        env: the environment.
        findings: where errors, endless calls and prints go.
        call_s: time limit of one call.

    Attributes:
        last_s: how long the last call took.
        last_returned: what it returned.
        profile: where steps are recorded, if anywhere.
    """

    def __init__(self, env: ParallelEnv, findings: Findings, call_s: float) -> None:
        self.env = env
        self.findings = findings
        self.last_s = 0.0
        self.last_returned: Any = None
        self.profile: cProfile.Profile | None = None
        self._call_s = call_s

    def reset(self, seed: int | None = None) -> Any:
        """Calls `reset` as the samplers do.

        Raises:
            GaveUp: it failed.
        """
        return self._call("reset", seed=seed, options=None)

    def step(self, actions: dict[str, Any]) -> Any:
        """Calls `step`.

        Raises:
            GaveUp: it failed.
        """
        return self._call("step", actions)

    def close(self) -> None:
        """Calls `close`; a failure is a finding and no more."""
        with contextlib.suppress(GaveUp):
            self._call("close")

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed), time_limit(self._call_s):
                started = time.perf_counter()
                returned = self._run(getattr(self.env, method), *args, **kwargs)
                self.last_s = time.perf_counter() - started
                self.last_returned = returned
        except TimeUp as error:
            place = self.findings.places.of_error(error, method)
            seen = f"{_call_text(method, args)} did not return within {self._call_s:g} s"
            self.findings.add("call-hangs", seen, place)
            raise GaveUp from None
        except (Exception, SystemExit) as error:
            self._note_error(method, args, error)
            raise GaveUp from None
        finally:
            if text := printed.getvalue().strip():
                self.findings.add("prints", f"{method}() printed {text.splitlines()[0][:60]!r}")
        return returned

    def _run(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.profile is None or method.__name__ != "step":
            return method(*args, **kwargs)
        return self.profile.runcall(method, *args, **kwargs)

    def _note_error(self, method: str, args: tuple[Any, ...], error: BaseException) -> None:
        if method == "reset" and isinstance(error, TypeError) and _REFUSED.search(str(error)):
            self.findings.add("reset-refuses-arguments", describe(error))
            return
        place = self.findings.places.of_error(error, method)
        seen = f"{_call_text(method, args)}: {describe(error)}"
        self.findings.add(f"{method}-raises", seen, place)


def _call_text(method: str, args: tuple[Any, ...]) -> str:
    return f"{method}({', '.join(map(short, args))})"
