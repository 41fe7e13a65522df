"""What a search has decided, and whether it follows from what is on disk."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from commands import Run
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from empo_rllib.config.load import load_config
from empo_rllib.config.population_settings import settings_of
from empo_rllib.experiment.population import decide, read_rounds
from empo_rllib.experiment.population_scheduler import build_explore


def study_of(run: Run) -> optuna.Study:
    """Opens the study as anybody does with Optuna's API."""
    storage = JournalStorage(JournalFileBackend(str(run.folder / "optuna.journal")))
    return optuna.load_study(study_name=run.folder.name, storage=storage)


def decisions(run: Run) -> list[tuple]:
    """What was chosen for each trial, how it ended, and its value in the study."""
    trials = run.summary["trials"]
    states = [(trial.state.name, trial.value) for trial in study_of(run).trials]
    return [
        (one["params"], one["status"], one["env_steps"], one["metric"], *state)
        for one, state in zip(trials, states, strict=True)
    ]


def check_rounds(run: Run, experiment: Path) -> None:
    """Decides each round of a population again, from the scores in its members' own rows."""
    config = load_config(experiment)
    settings, explore = settings_of(config.tune.scheduler), build_explore(config)
    assert settings is not None
    rounds = read_rounds(run.folder)
    params = {trial["trial_id"]: trial["params"] for trial in run.summary["trials"]}
    for number, one in enumerate(rounds):
        for member in one.members:
            row = run.trial(int(member.trial_id[-5:])).rows()[member.training_iteration - 1]
            assert member.score == pytest.approx(float(row[config.tune.metric]))
        arrived = [
            member.model_copy(update={"copies": None, "params": params[member.trial_id]})
            for member in one.members
        ]
        again = decide(arrived, rounds[:number], settings, explore, config.tune.mode, config.seed)
        assert again == one
        params |= {member.trial_id: member.params for member in one.members}
