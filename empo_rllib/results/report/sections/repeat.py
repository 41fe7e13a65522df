"""Section: the commands that made all this."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from empo_rllib.experiment.run_folder import CONFIG_FILE
from empo_rllib.results.report.crossplay import CrossPlay
from empo_rllib.results.report.numbers import plural
from empo_rllib.results.report.parts import Code, Paragraph, Part, ReportSection
from empo_rllib.results.report.play import PlayedTrials
from empo_rllib.results.report.runs import ReportedRun, Session


def build_repeat(
    runs: Sequence[ReportedRun], played: PlayedTrials, crossplay: CrossPlay | None, command: str
) -> ReportSection:
    """Returns the commands of each run's sessions, ways to do it again, and the report's own.

    Args:
        runs: the runs.
        played: how episodes were played.
        crossplay: the cross-play that it shows.
        command: the lines that made this report.
    """
    parts: list[Part] = []
    for run in runs:
        if run.sessions:
            sessions = plural(len(run.sessions), "session")
            text = "\n".join(_session(session) for session in run.sessions)
            parts.append(Code(f"{run.label}: what was typed, {sessions}", text))
        else:
            parts.append(Paragraph(f"{run.label}: it has no provenance.json, which would tell."))
        parts.append(
            Code(
                f"{run.label}: the same experiment once more, and a closer look",
                _more(run, played),
            )
        )
    if crossplay is not None:
        parts.append(Code("Cross-play", _crossplay(crossplay)))
    parts.append(Code("This report", command))
    return ReportSection("repeat", "Repeat it", parts)


def _session(session: Session) -> str:
    lines = [f"# {session.started}" if session.started else ""]
    commit = session.code.get("commit")
    if commit:
        changed = "   # with uncommitted changes" if session.code.get("uncommitted_changes") else ""
        folder = shlex.quote(str(session.code.get("folder", ".")))
        lines.append(f"git -C {folder} checkout {shlex.quote(str(commit))}{changed}")
    if session.working_folder:
        lines.append(f"cd {shlex.quote(session.working_folder)}")
    return "\n".join([*(line for line in lines if line), session.command])


def _more(run: ReportedRun, played: PlayedTrials) -> str:
    folder = shlex.quote(str(run.folder))
    config = shlex.quote(str(run.folder / CONFIG_FILE))
    again = shlex.quote(f"name={run.config.name}-again")
    known = [session.working_folder for session in run.sessions if session.working_folder]
    lines = [f"cd {shlex.quote(known[-1])}"] if known else []
    lines.append(f"python -m empo_rllib.tune --config {config} --set {again}")
    if run.ranked():
        protocol = f"--episodes {played.episodes or 100} --seed {played.seed}"
        lines += [
            f"python -m empo_rllib evaluate {folder} {protocol}",
            f"python -m empo_rllib record {folder} --out episode.gif",
        ]
    return "\n".join(lines)


def _crossplay(crossplay: CrossPlay) -> str:
    protocol = crossplay.protocol
    players = [player.checkpoint or player.run for player in crossplay.players]
    command = ["python", "-m", "empo_rllib", "crossplay", *players]
    command += ["--episodes", str(protocol.episodes), "--seed", str(protocol.seed)]
    command += ["--greedy" if protocol.greedy else "--sampled"]
    for setting in protocol.settings:
        command += ["--set", setting]
    return shlex.join([*command, "--out", "crossplay.json"])
