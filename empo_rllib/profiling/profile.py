"""Measures an experiment as it is, and with other settings."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from empo_rllib.algorithms.builder import build_algorithm_config
from empo_rllib.config.load import load_config
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.console import Tell
from empo_rllib.errors import ConfigError, ResourceError, TrialError
from empo_rllib.experiment.cluster import (
    THIS_MACHINE,
    check_resources,
    local_cluster,
    local_resources,
)
from empo_rllib.experiment.plan import (
    PlannedTrial,
    describe_networks,
    num_gpus_per_learner,
    plan_trials,
    trial_resources,
)
from empo_rllib.profiling.measure import Measured, measure
from empo_rllib.profiling.settings import Setting, settings_to_try


@dataclass(frozen=True)
class Tried:
    """What another setting brought.

    Attributes:
        setting: the key and its values.
        env_steps_per_s: with it; None where it cannot be trained with.
        reason: why it cannot.
    """

    setting: Setting
    env_steps_per_s: float | None
    reason: str = ""


@dataclass(frozen=True)
class Profile:
    """Where the time of an experiment's first trial goes.

    Attributes:
        name: of the experiment.
        sampler: how it samples, and why.
        networks: how each policy is trained.
        cpus: of this machine.
        measured: as it is.
        again: env steps per second as it is, measured after the others, which shows how far this
            machine's times can be trusted; None where nothing else was tried.
        tried: with other settings, the fastest first.
    """

    name: str
    sampler: str
    networks: Mapping[str, str]
    cpus: int
    measured: Measured
    again: float | None
    tried: tuple[Tried, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns what `--json` prints."""
        return {**asdict(self), "env_steps_per_s": self.measured.env_steps_per_s}


def profile_experiment(
    experiment: ExperimentConfig, seconds: float, try_settings: bool, tell: Tell
) -> Profile:
    """Trains an experiment's first trial for some seconds, on this machine.

    Args:
        experiment: free of search spaces.
        seconds: how long each measurement is at least, after two iterations to warm up.
        try_settings: whether to measure other settings, too.
        tell: takes what is being done.

    Raises:
        ConfigError, ResourceError: it cannot be trained here.
        TrialError: training failed.
    """
    available = local_resources()
    planned, gpus = _plan(experiment, available)
    setup, cpus = planned.setup, int(available["CPU"])
    networks = describe_networks([planned], gpus)
    with local_cluster(available) as cluster, _interruptible():
        assert cluster.folder is not None
        tell("measuring it as it is")
        measured = measure(setup, gpus, seconds, cluster.folder)
        tried: list[Tried] = []
        again = None
        if try_settings:
            size = build_algorithm_config(setup).minibatch_size
            with_torch = not gpus and any(planned.why_torch.values())
            other_gpus = float(not gpus) if available["GPU"] else None
            for setting in settings_to_try(setup, size, with_torch, cpus, other_gpus):
                tell(f"measuring {setting.override}")
                tried.append(_try(experiment, setting, available, seconds, cluster.folder))
            tell("measuring it as it is, again")
            again = measure(setup, gpus, seconds, cluster.folder).env_steps_per_s
    tried.sort(key=lambda one: one.env_steps_per_s or 0.0, reverse=True)
    sampler = f"{setup.sampler.name} ({setup.sampler.reason})"
    return Profile(experiment.name, sampler, networks, cpus, measured, again, tuple(tried))


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ends the measurements at SIGINT and SIGTERM, which Tune and Ray would handle in their way."""
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _plan(experiment: ExperimentConfig, available: dict[str, float]) -> tuple[PlannedTrial, float]:
    (planned,) = plan_trials(experiment)
    gpus = num_gpus_per_learner(experiment, [planned], available)
    check_resources(trial_resources([planned], gpus), available, THIS_MACHINE)
    return planned, gpus


def _try(
    experiment: ExperimentConfig,
    setting: Setting,
    available: dict[str, float],
    seconds: float,
    folder: Path,
) -> Tried:
    try:
        planned, gpus = _plan(load_config(experiment, [setting.override]), available)
        return Tried(setting, measure(planned.setup, gpus, seconds, folder).env_steps_per_s)
    except (ConfigError, ResourceError, TrialError) as error:
        return Tried(setting, None, str(error))
