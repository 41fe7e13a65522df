"""A broken W&B never fails a run: what it raises is told once, and training goes on."""

from __future__ import annotations

from commands import Workplace

# Stands for the installed package; libraries do call sys.exit.
MODULE = """
import sys


def Settings(**settings):
    return settings


def init(**arguments):
    return Run()


class Run:
    def log(self, row, step=None):
        sys.exit("no space left for wandb")

    def finish(self, **arguments):
        raise RuntimeError("wandb was never well")
"""


def test_training_goes_on_without_a_broken_wandb(place: Workplace):
    place.write("wandb.py", MODULE)
    wandb = {"project": "broken", "mode": "offline"}
    config = place.write_experiment(logging={"wandb": wandb})
    outcome = place.tune("--config", config).check()
    told = "W&B: no space left for wandb. Training goes on without it; nothing more is logged."
    assert outcome.stderr.splitlines().count(told) == 1
    assert outcome.output.count("W&B") == 1
    assert "Traceback" not in outcome.output
    run = place.run("tiny")
    assert run.summary["status"] == "finished"
    assert run.trial().column("env_steps")[-1] == 400
