"""From run folders to a report."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from empo_rllib.console import Tell
from empo_rllib.errors import ConfigError
from empo_rllib.results.evaluate import check_protocol
from empo_rllib.results.output import check_output, write_output
from empo_rllib.results.report.crossplay import CrossPlay, read_crossplay
from empo_rllib.results.report.numbers import plural
from empo_rllib.results.report.page import render_page
from empo_rllib.results.report.parts import ReportSection
from empo_rllib.results.report.play import PlayedTrials, play
from empo_rllib.results.report.runs import ReportedRun, read_runs
from empo_rllib.results.report.sections.comparison import build_comparison
from empo_rllib.results.report.sections.crossplay import build_crossplay
from empo_rllib.results.report.sections.episodes import build_episodes
from empo_rllib.results.report.sections.evaluation import build_evaluation
from empo_rllib.results.report.sections.hyperparameters import build_hyperparameters
from empo_rllib.results.report.sections.learning_curves import build_curves
from empo_rllib.results.report.sections.pareto import build_pareto
from empo_rllib.results.report.sections.population import build_population
from empo_rllib.results.report.sections.repeat import build_repeat
from empo_rllib.results.report.sections.setup import build_setup
from empo_rllib.results.report.sections.summary import build_summary
from empo_rllib.results.report.sections.throughput import build_throughput
from empo_rllib.results.report.sections.visits import build_visits

SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class Written:
    """What a report holds, in numbers."""

    num_runs: int
    num_trials: int
    num_bytes: int

    def __str__(self) -> str:
        runs, trials = plural(self.num_runs, "run"), plural(self.num_trials, "trial")
        return f"{runs}, {trials}, {self.num_bytes / 1e6:.1f} MB"


def write_report(
    runs: Sequence[str | Path],
    out: str | Path,
    episodes: int = 100,
    seed: int = 0,
    crossplay: str | Path | None = None,
    tell: Tell = lambda text: None,
) -> Written:
    """Writes a report of runs into one HTML file.

    Everything is read and checked first, and the file appears when it is complete. Nothing is
    written into the run folders, and none of their pickles is read.

    Args:
        runs: Run folders.
        out: The file, ending in .html; replaced if it exists.
        episodes: How many each trial plays; 0: none, and nothing of Ray or torch is imported.
        seed: Episode i is played with `seed + i`.
        crossplay: A file that the `crossplay` command has written.
        tell: Is told what is being done.

    Raises:
        ConfigError: an argument has an impossible value, or what an experiment needs is gone.
        RunError: a folder is no run, or is damaged.
        CheckpointError: a checkpoint is damaged.
    """
    out = Path(out).expanduser()
    if not runs:
        raise ConfigError("report: name at least one run folder.")
    check_protocol(episodes or 1, seed)
    check_output("--out", out, SUFFIXES)
    pairs = None if crossplay is None else read_crossplay(Path(crossplay))
    command = _command(runs, out, episodes, seed, crossplay)
    read = read_runs(runs)
    played = play(read, episodes, seed, tell)
    text = _render(read, played, pairs, command, tell)
    write_output("--out", out, text)
    num_trials = sum(len(run.trials) for run in read)
    return Written(len(read), num_trials, len(text.encode()))


def _render(
    runs: Sequence[ReportedRun],
    played: PlayedTrials,
    crossplay: CrossPlay | None,
    command: str,
    tell: Tell,
) -> str:
    sections: list[ReportSection] = [
        build_summary(runs),
        build_setup(runs),
        build_curves(runs, played),
        build_throughput(runs),
        build_evaluation(runs, played),
        build_comparison(runs, played),
        build_crossplay(crossplay),
        build_hyperparameters(runs),
        build_pareto(runs),
        build_population(runs),
        build_episodes(runs, played, tell),
        build_visits(played),
        build_repeat(runs, played, crossplay, command),
    ]
    environments = list(dict.fromkeys(run.config.env.id for run in runs))
    algorithms = list(dict.fromkeys(name for run in runs for name in run.config.algorithm.names))
    num_trials = plural(sum(len(run.trials) for run in runs), "trial")
    subtitle = f"{', '.join(algorithms)} on {', '.join(environments)}, {num_trials}"
    return render_page(", ".join(run.label for run in runs), subtitle, sections)


def _command(
    runs: Sequence[str | Path],
    out: Path,
    episodes: int,
    seed: int,
    crossplay: str | Path | None,
) -> str:
    arguments = [*map(str, runs), "--out", str(out), "--episodes", str(episodes)]
    arguments += ["--seed", str(seed)]
    arguments += [] if crossplay is None else ["--crossplay", str(crossplay)]
    return f"cd {shlex.quote(os.getcwd())}\npython -m empo_rllib report {shlex.join(arguments)}"
