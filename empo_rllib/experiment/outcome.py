"""What the user reads at the end of a run, and the exit code that goes with it."""

from __future__ import annotations

import shlex

from empo_rllib import columns
from empo_rllib.errors import Interrupted, TrialError
from empo_rllib.experiment.progress import short_path
from empo_rllib.experiment.share import ArrayTask
from empo_rllib.experiment.summary import ExperimentResult, TrialSummary
from empo_rllib.experiment.time_left import duration

_EXIT_CODES = {
    "finished": 0,
    "failed": TrialError.exit_code,
    "interrupted": Interrupted.exit_code,
}


def exit_code(result: ExperimentResult, task: ArrayTask | None = None) -> int:
    """Returns the exit code that the run's status stands for; in an array, this job's trials'."""
    if task is None:
        return _EXIT_CODES[result.status]
    statuses = {trial.status for trial in result.trials_of(task.number)}
    if statuses & {"interrupted", "pending"}:
        return Interrupted.exit_code
    if "failed" in statuses:
        return TrialError.exit_code
    is_some_left = any(t.array_task is None and not t.is_over for t in result.trials)
    return Interrupted.exit_code if is_some_left else 0


def render_outcome(result: ExperimentResult, command: str) -> str:
    """Returns status, best trial, return, where everything is, and what to type next.

    `command` is the line that started the run, without `--resume`.
    """
    folder = short_path(result.folder)
    others = " (other jobs of the array train on)" if result.status == "running" else ""
    lines = ["", f"status       {result.status}{others}"]
    best = result.best()
    if best is not None:
        lines += [
            f"best trial   {best.trial_id} ({best.stop_reason or best.status})",
            _value_line(best, _label(result.metric)),
            *_best_checkpoint(best),
            *_pareto_front(result),
            f"trained      {_trained(result, best)}",
        ]
    elif any(trial.env_steps for trial in result.trials):
        lines.append(f"best trial   unknown: no trial has reported {result.metric} (tune.metric)")
    lines += [f"results      {folder}"]
    failed = [trial for trial in result.trials if trial.status == "failed"]
    for trial in failed:
        lines += [
            "",
            f"{trial.trial_id} failed:",
            (trial.error or "no result was received").rstrip(),
        ]
    next_commands = _next_commands(result, folder, f"{command} --resume")
    return "\n".join([*lines, "", "next", *(f"  {command}" for command in next_commands)])


def _next_commands(result: ExperimentResult, folder: str, resume: str) -> list[str]:
    commands = (
        []
        if result.status in ("finished", "running")
        else [f"{resume}    # go on from the last checkpoint"]
    )
    quoted = shlex.quote(folder)
    if any(trial.checkpoint for trial in result.trials):
        commands += [
            f"python -m empo_rllib evaluate {quoted}",
            f"python -m empo_rllib record {quoted} --out episode.gif",
        ]
    return [*commands, f"tensorboard --logdir {quoted}"]


def _best_checkpoint(best: TrialSummary) -> list[str]:
    if best.best_score is None or best.best_checkpoint == best.checkpoint:
        return []
    return [f"best saved   {best.best_score:.4f}: {best.best_checkpoint} (--checkpoint best)"]


def _pareto_front(result: ExperimentResult) -> list[str]:
    if not result.objectives:
        return []
    objectives = ", ".join(f"{metric} {mode}" for metric, mode in result.objectives.items())
    trials = ", ".join(result.pareto_front)
    return [f"Pareto front {trials or 'unknown: no trial has settled values'} ({objectives})"]


def _trained(result: ExperimentResult, best: TrialSummary) -> str:
    """Returns the env steps of all trials, and the best one's with its time."""
    of_best = (
        f"{best.env_steps:,} env steps in {duration(best.time_s)} "
        f"({best.env_steps_per_s or 0:,.0f} env steps/s)"
    )
    started = [trial.env_steps for trial in result.trials if trial.env_steps]
    if len(started) < 2:
        return of_best
    return f"{sum(started):,} env steps in {len(started)} trials; the best one {of_best}"


def _value_line(best: TrialSummary, label: str) -> str:
    if best.status == "failed":
        return f"last {label}  {best.metric:.4f} (before it failed)"
    return f"best {label}  {best.metric:.4f}"


def _label(metric: str) -> str:
    return "return" if metric == columns.EPISODE_RETURN_MEAN else metric
