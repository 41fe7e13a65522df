"""Run folders with several trials, each with weights of its own."""

from __future__ import annotations

import shutil

import numpy as np
import yaml
from safetensors.numpy import load_file, save_file

from empo_rllib.experiment.summary import TrialSummary, read_summary

LR = "algorithm.params.lr"


def write_trials(one_trial, folder, settings, without_checkpoint=()):
    """Writes a run of several trials with weights of their own; the second one is the best.

    Args:
        one_trial: a run of one trial, which is copied.
        folder: the new run folder.
        settings: learning rate (None: not searched) and seed of each trial.
        without_checkpoint: numbers of trials that have none, with a better metric than the best.
    """
    experiment = yaml.safe_load((one_trial / "resolved_config.yaml").read_text())
    experiment["seed"] = {"grid_search": [seed for _, seed in settings]}
    if settings[0][0] is not None:
        experiment["algorithm"]["params"]["lr"] = {"grid_search": [lr for lr, _ in settings]}
    folder.mkdir()
    (folder / "resolved_config.yaml").write_text(yaml.safe_dump(experiment))
    trials = []
    for number, (lr, seed) in enumerate(settings):
        trial = TrialSummary(
            trial_id=f"trial_{number:05d}",
            params={} if lr is None else {LR: lr},
            seed=seed,
            status="finished",
            metric=3.0 if number in without_checkpoint else float(number == 1),
        )
        trials.append(trial)
        if number not in without_checkpoint:
            shutil.copytree(one_trial / "trial_00000", folder / trial.trial_id)
            _change_weights(folder / trial.trial_id, np.random.default_rng(number))
    summary = read_summary(one_trial).model_copy(update={"trials": trials, "folder": str(folder)})
    summary.update()
    summary.write()
    return folder


def _change_weights(trial, rng):
    for file in trial.glob("*/policies/*.safetensors"):
        weights = load_file(file)
        save_file(
            {k: v + 0.1 * rng.normal(size=v.shape).astype(v.dtype) for k, v in weights.items()},
            file,
        )
