"""The order of the examinations."""

from __future__ import annotations

import contextlib
import functools
import io
import time
import warnings
from collections.abc import Callable
from dataclasses import astuple

from pettingzoo import ParallelEnv

from empo_rllib.algorithms.setup import open_env, set_up_trial
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.doctor.findings import Findings, GaveUp
from empo_rllib.doctor.limits import Limits, TimeUp, time_limit
from empo_rllib.doctor.places import Places
from empo_rllib.doctor.play import Played, play
from empo_rllib.doctor.repeat import check_repeats
from empo_rllib.doctor.report import AgentSpaces, RandomPlay, Report, describe_space
from empo_rllib.doctor.spaces import check_declarations
from empo_rllib.doctor.subject import Subject
from empo_rllib.doctor.suggestions import Measured, available_cpus, suggest
from empo_rllib.doctor.times import Times, find_hotspots, measure_times
from empo_rllib.envs.arguments import describe
from empo_rllib.envs.vector_env import AgentGroup, group_agents
from empo_rllib.errors import ConfigError, EnvError


def examine(
    config: ExperimentConfig,
    limits: Limits | None = None,
    make: Callable[[], ParallelEnv] | None = None,
) -> Report:
    """Examines the environment of an experiment without training in it.

    Args:
        config: the experiment, free of search spaces; suggestions are about its settings.
        limits: when to stop; None: after some ten seconds.
        make: makes the environment; None: by its id.

    Raises:
        EnvError: there is no environment to examine.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # but those that the environment gives while it is played
        return _Examination(config, limits or Limits(), make).run()


class _Examination:
    """One examination under way.

    Args:
        config: the experiment.
        limits: when to stop.
        make: makes the environment; None: by its id.
    """

    def __init__(
        self, config: ExperimentConfig, limits: Limits, make: Callable[[], ParallelEnv] | None
    ) -> None:
        self._config, self._limits = config, limits
        self._maker = make or functools.partial(open_env, config.env)
        self._env = self._make()
        self._findings = Findings(Places(self._env))
        self._subject = self._examined(self._env)
        self._played = Played()
        env = config.env
        described = {"id": env.id, "num_agents": env.num_agents, "kwargs": env.kwargs}
        self._report = Report(env=described)

    def run(self) -> Report:
        """Examines until something makes it senseless to go on."""
        with contextlib.suppress(GaveUp):
            make_s = self._time_making()
            check_declarations(self._env, self._findings)
            self._describe_spaces()
            self._try_step_before_reset()
            self._play(make_s)
            check_repeats(self._make_subject, self._limits, self._findings)
            self._profile()
        self._subject.close()
        self._report.findings = list(self._findings)
        return self._report

    def _describe_spaces(self) -> None:
        groups = self._groups()
        agents = self._env.possible_agents
        for group in groups:
            dtypes = dict.fromkeys(str(dtype) for dtype in group.leaves.dtypes)
            self._report.spaces.append(
                AgentSpaces(
                    agents=tuple(agents[column] for column in group.columns),
                    observation_space=describe_space(group.observation_space),
                    dtypes=tuple(dtypes),
                    action_space=describe_space(group.action_space),
                )
            )

    def _groups(self) -> tuple[AgentGroup, ...]:
        agents = self._env.possible_agents
        seen = {agent: self._env.observation_space(agent) for agent in agents}
        return group_agents(agents, seen, {a: self._env.action_space(a) for a in agents})

    def _try_step_before_reset(self) -> None:
        """Steps a copy of its own, since that may leave it in any state."""
        env = self._make_another()
        with contextlib.suppress(Exception, SystemExit, TimeUp), time_limit(self._limits.call_s):
            agents = list(env.agents)
            returned = env.step({agent: env.action_space(agent).sample() for agent in agents})
            if agents and returned[0]:
                self._findings.add("step-before-reset-works", "step() returned observations")
        self._examined(env).close()

    def _play(self, make_s: float) -> None:
        try:
            play(self._subject, self._limits, self._played)
        finally:
            self._report.random_policy = RandomPlay.of(self._played)
            if "space-missing" not in self._findings:
                self._report.times = measure_times(make_s, self._played, self._subject)
                self._choose_sampler()
                self._suggest(self._report.times)

    def _choose_sampler(self) -> None:
        """Finds what `resources.sampler: auto` takes, by the rules of training."""
        resources = self._config.resources.model_copy(update={"sampler": "auto"})
        env = self._make_another()  # as it was made, without anything replaced
        try:
            setup = set_up_trial(self._config.model_copy(update={"resources": resources}), env)
            self._report.sampler, self._report.sampler_reason = astuple(setup.sampler)
        except ConfigError as error:
            self._report.sampler_reason = str(error)
        finally:
            self._examined(env).close()

    def _suggest(self, times: Times) -> None:
        asked = self._config.resources.sampler
        self._report.suggestions = suggest(
            Measured(
                config=self._config,
                sampler=self._report.sampler or "" if asked == "auto" else asked,
                played=self._played,
                times=times,
                same_spaces=len(self._report.spaces) == 1,
                cpus=available_cpus(),
            )
        )

    def _profile(self) -> None:
        with contextlib.closing(self._make_subject(self._findings)) as subject:
            self._report.hotspots = find_hotspots(subject)

    def _make_subject(self, findings: Findings) -> Subject:
        return Subject(self._make_another(), findings, self._limits.call_s)

    def _examined(self, env: ParallelEnv) -> Subject:
        return Subject(env, self._findings, self._limits.call_s)

    def _time_making(self) -> float:
        """Makes a second copy: the first also imports what the environment needs."""
        started = time.perf_counter()
        env = self._make_another()
        seconds = time.perf_counter() - started
        self._examined(env).close()
        return seconds

    def _make_another(self) -> ParallelEnv:
        try:
            return self._make()
        except EnvError as error:
            self._findings.add("second-copy-fails", str(error))
            raise GaveUp from None

    def _make(self) -> ParallelEnv:
        env = self._config.env
        try:
            # pygame greets when it is imported, which must not get into --json.
            with time_limit(self._limits.call_s), contextlib.redirect_stdout(io.StringIO()):
                return self._maker()
        except TimeUp:
            limit = f"{self._limits.call_s:g} s"
            raise EnvError(f"env.id = {env.id!r} was not made within {limit}.") from None
        except EnvError:
            raise
        except (Exception, SystemExit) as error:
            raise EnvError(f"env.id = {env.id!r} could not be made: {describe(error)}") from error
