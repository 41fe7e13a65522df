"""Optuna's study of a run, in the run folder: which values trials get, and what came of them.

The study is a journal file of Optuna's own, which its dashboard and API open. A trial of it
carries our trial id as the user attribute `trial_id`; the newest with that id counts. Its state:

    RUNNING     values are chosen, and no end is recorded yet: also while a run is interrupted
    COMPLETE    the trial finished; the value is its last settled `tune.metric`, or several are
    PRUNED      ASHA stopped the trial; the value is the last settled one, at its env steps
    FAIL        the trial failed, or never reported a settled, finite `tune.metric`

The trials' own `summary.json` and `progress.csv` go before the study: a missing or outdated one is
brought up to date from them. A sampler lives for one choice, seeded with the search's seed and the
number of the trial, so that an interruption changes no choice.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from empo_rllib import columns
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.config.search_settings import SEED, OptunaConfig
from empo_rllib.config.search_space import (
    WHEN,
    in_drawing_order,
    is_open_in,
    kind_and_options,
    open_values,
)
from empo_rllib.errors import RunError
from empo_rllib.experiment.metrics import score_of
from empo_rllib.experiment.progress_file import read_progress
from empo_rllib.experiment.summary import TrialSummary

STUDY_FILE = "optuna.journal"
optuna.logging.set_verbosity(optuna.logging.WARNING)  # it prints a line for every trial
_TRIAL_ID, _METRIC = "trial_id", "metric"
_DIRECTIONS = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}


class Study:
    """The study of a run; one process at a time may write it.

    Args:
        config: The experiment, with `tune.search`.
        folder: The run folder.
        trials: Those of its summary. What earlier sessions have not recorded of them is recorded.
    """

    def __init__(
        self, config: ExperimentConfig, folder: Path, trials: Sequence[TrialSummary]
    ) -> None:
        assert config.tune.search is not None
        self._settings = config.tune.search.optuna
        self._seed = search_seed(config)
        self._objectives = config.tune.objectives
        self._folder = folder
        self._spaces = {
            ".".join(path): space
            for path, space in in_drawing_order(open_values(config.to_dict())).items()
            if path != SEED
        }
        self._storage = open_storage(folder / STUDY_FILE)
        self._study = optuna.create_study(
            storage=self._storage,
            study_name=config.name,
            directions=[_DIRECTIONS[one.mode] for one in self._objectives],
            load_if_exists=True,
        )
        if _METRIC not in self._study.user_attrs:
            metrics = [one.metric for one in self._objectives]
            self._study.set_user_attr(_METRIC, metrics[0] if len(metrics) == 1 else metrics)
        self._catch_up(trials)
        for point in self._settings.points_to_evaluate[len(self._study.trials) :]:
            self._study.enqueue_trial(encode(point, self._spaces))

    def choose(self, trial_id: str) -> dict[str, Any]:
        """Returns the values of a trial by dotted key.

        They are those chosen before where a session ended before it could record them.
        """
        is_conditional = any(WHEN in space for space in self._spaces.values())
        self._study.sampler = build_sampler(
            self._settings, self._seed, _number(trial_id), is_conditional
        )
        begun = self._newest(trial_id) or self._unnamed()
        trial = self._study.ask() if begun is None else self._reopen(begun)
        trial.set_user_attr(_TRIAL_ID, trial_id)
        params: dict[str, Any] = {}
        for key, space in self._spaces.items():
            if is_open_in(space, params):
                params[key] = _suggest(trial, key, space)
        return params

    def record(self, trial: TrialSummary) -> None:
        """Records the end of a trial, once; one that is not over stays as it is."""
        newest = self._newest(trial.trial_id)
        is_recorded = newest is not None and newest.state.is_finished()
        if is_recorded or not _has_ended(trial):
            return
        number = self._running(trial)
        folder = self._folder / trial.trial_id
        found = [last_score(folder, one.metric) for one in self._objectives]
        scores = [one for one in found if one is not None]
        if trial.status == "failed" or len(scores) < len(found):
            self._study.tell(number, state=TrialState.FAIL)
        elif trial.status == "stopped":  # by ASHA, which has one metric
            ((value, env_steps),) = scores
            self._storage.set_trial_intermediate_value(self._storage_id(number), env_steps, value)
            self._study.tell(number, state=TrialState.PRUNED)
        else:
            self._study.tell(number, [value for value, _ in scores])

    def _catch_up(self, trials: Sequence[TrialSummary]) -> None:
        """Records ends that are not recorded yet, and that trials with values are to run.

        A trial whose end was recorded enters the study a second time: Optuna reopens none.
        """
        for trial in trials:
            if trial.params and _has_ended(trial):
                self.record(trial)
            elif trial.params:
                self._running(trial)

    def _newest(self, trial_id: str) -> FrozenTrial | None:
        trials = self._study.get_trials(deepcopy=False)
        ours = [trial for trial in trials if trial.user_attrs.get(_TRIAL_ID) == trial_id]
        return ours[-1] if ours else None

    def _unnamed(self) -> FrozenTrial | None:
        """Returns a trial that was asked for in a session that ended before it could name it."""
        running = self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
        return next((trial for trial in running if _TRIAL_ID not in trial.user_attrs), None)

    def _running(self, trial: TrialSummary) -> int:
        """Returns the number of a trial that runs, which is added if the study has none."""
        newest = self._newest(trial.trial_id)
        if newest is None or newest.state.is_finished():
            self._study.add_trial(
                optuna.trial.create_trial(
                    state=TrialState.RUNNING,
                    params=encode(trial.params, self._spaces),
                    distributions={key: distribution(self._spaces[key]) for key in trial.params},
                    user_attrs={_TRIAL_ID: trial.trial_id},
                )
            )
            newest = self._newest(trial.trial_id)
        assert newest is not None
        return newest.number

    def _reopen(self, trial: FrozenTrial) -> optuna.Trial:
        return optuna.Trial(self._study, self._storage_id(trial.number))

    def _storage_id(self, number: int) -> int:
        study_id = self._storage.get_study_id_from_name(self._study.study_name)
        return self._storage.get_trial_id_from_study_id_trial_number(study_id, number)


def open_storage(path: Path) -> JournalStorage:
    """Opens a journal; a last line that was cut short goes first, for Optuna would append to it."""
    # The other lock of Optuna is a link, which a moved run folder would leave broken.
    lock = JournalFileOpenLock(str(path))
    if path.exists():
        lock.acquire()
        try:
            with path.open("rb+") as file:
                file.truncate(file.read().rfind(b"\n") + 1)
        finally:
            lock.release()
    return JournalStorage(JournalFileBackend(str(path), lock))


def check_study(folder: Path) -> None:
    """Checks the study of a run that is to continue; there may be none.

    Raises:
        RunError: its file is damaged.
    """
    path = folder / STUDY_FILE
    if not path.exists():
        return
    try:
        open_storage(path).get_all_studies()
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path}: damaged: {error}. Move it away: it is made again from the trials."
        ) from error


def build_sampler(
    settings: OptunaConfig, seed: int, trial_number: int, is_conditional: bool
) -> optuna.samplers.BaseSampler:
    """Returns the sampler that chooses the values of one trial.

    Args:
        settings: Of Optuna.
        seed: Of the search.
        trial_number: Of the trial, which has random numbers of its own.
        is_conditional: Whether some keys are `when` others have an option: those that always come
            together are then modelled together.

    TPE is Bergstra et al. 2011 and, multivariate, Falkner et al. 2018 (arXiv:1807.01774); values
    near those of running trials are avoided. CMA-ES is Hansen 2016 (arXiv:1604.00772); its state
    is in the study.
    """
    own_seed = int(np.random.SeedSequence([seed, trial_number]).generate_state(1)[0])
    if settings.sampler == "cmaes":
        return optuna.samplers.CmaEsSampler(
            seed=own_seed,
            n_startup_trials=settings.n_startup_trials,
            warn_independent_sampling=False,
        )
    with warnings.catch_warnings():  # of `group`, which Optuna calls experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=own_seed,
            n_startup_trials=settings.n_startup_trials,
            multivariate=settings.multivariate,
            group=settings.multivariate and is_conditional,
        )


def search_seed(config: ExperimentConfig) -> int:
    """Returns the seed of the sampler: its own, else the experiment's, else 0."""
    assert config.tune.search is not None
    own = config.tune.search.optuna.seed
    if own is not None:
        return own
    return config.seed if isinstance(config.seed, int) else 0


def distribution(space: Mapping[str, Any]) -> BaseDistribution:
    """Returns Optuna's form of a search space other than a grid."""
    kind, options = kind_and_options(space)
    if kind == "choice":
        return CategoricalDistribution(list(_labels(options)))
    low, high = options
    if kind == "randint":
        return IntDistribution(low, high - 1)
    return FloatDistribution(low, high, log=kind == "loguniform")


def label(option: Any) -> str | int | float | bool | None:
    """Returns an option as Optuna stores it: lists and mappings become JSON."""
    return json.dumps(option, sort_keys=True) if isinstance(option, list | dict) else option


def importances(
    spaces: Mapping[str, Mapping[str, Any]],
    trials: Sequence[tuple[Mapping[str, Any], float]],
    mode: str,
) -> dict[str, float]:
    """Returns how much each key decides whether a trial is in the better half.

    PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255) as Optuna has it; its default, the best
    tenth, is two trials of twenty.

    Args:
        spaces: The search space of each key; no grids.
        trials: The values of each trial by key, and its score.
        mode: `max` where a larger score is better, else `min`.

    Returns:
        Shares by key that sum to 1, the largest first.
    """
    study = optuna.create_study(direction=_DIRECTIONS[mode])
    distributions = {key: distribution(space) for key, space in spaces.items()}
    for values, score in trials:
        study.add_trial(
            optuna.trial.create_trial(
                params=encode(values, spaces),
                distributions={key: distributions[key] for key in values},
                value=score,
            )
        )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.5)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


def encode(values: Mapping[str, Any], spaces: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns values as Optuna stores them."""
    return {
        key: label(value) if "choice" in spaces[key] else value for key, value in values.items()
    }


def last_score(trial_folder: Path, metric: str) -> tuple[float, int] | None:
    """Returns the last settled, finite value of a metric and its env steps, or None."""
    for row in reversed(read_progress(trial_folder)):
        if (value := score_of(row, metric)) is not None:
            return value, int(row[columns.ENV_STEPS])
    return None


def _suggest(trial: optuna.Trial, key: str, space: Mapping[str, Any]) -> Any:
    kind, options = kind_and_options(space)
    if kind == "choice":
        labels = _labels(options)
        return labels[trial.suggest_categorical(key, list(labels))]
    low, high = options
    if kind == "randint":
        return trial.suggest_int(key, low, high - 1)
    return trial.suggest_float(key, low, high, log=kind == "loguniform")


def _labels(options: list[Any]) -> dict[Any, Any]:
    """Returns the options by label, each once."""
    return {label(option): option for option in options}


def _has_ended(trial: TrialSummary) -> bool:
    return trial.is_over or trial.status == "failed"


def _number(trial_id: str) -> int:
    return int(trial_id.rpartition("_")[2])
