"""Section: the best, the median and the worst of the episodes, to look at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from empo_rllib.console import Tell
from empo_rllib.errors import EnvError
from empo_rllib.results.report.films import MAX_FRAMES, Filmer
from empo_rllib.results.report.numbers import count, fixed, plural
from empo_rllib.results.report.parts import Cell, Film, Films, Paragraph, Part, ReportSection, Table
from empo_rllib.results.report.play import MAX_WATCHED, PlayedTrials, Watched
from empo_rllib.results.report.runs import ReportedRun
from empo_rllib.results.report.sections.evaluation import why_not_played

if TYPE_CHECKING:
    from empo_rllib.acting.play import LiveEpisode

_SUCCESS = {True: "success", False: "failure", None: "not told"}


def build_episodes(runs: Sequence[ReportedRun], played: PlayedTrials, tell: Tell) -> ReportSection:
    """Returns films and all returns of the best trial of each run."""
    title = "Episodes"
    if not played.watched:
        return ReportSection("episodes", title, [Paragraph(why_not_played(played))])
    text = (
        f"The best trial of each run, {plural(played.episodes, 'episode')} with sampled actions "
        "(DQN: greedy ones): the one with the highest, the median and the lowest return."
    )
    if len(runs) > MAX_WATCHED:
        text += f" Only for the first {MAX_WATCHED} runs."
    parts: list[Part] = [Paragraph(text)]
    for watched in played.watched:
        tell(f"Filming {watched.run.label}")
        parts += [_films(watched, len(played.watched)), _table(watched)]
    return ReportSection("episodes", title, parts)


def pick(episodes: Sequence[LiveEpisode]) -> list[tuple[str, int]]:
    """Returns which episodes to show: name and index, none of them twice."""
    order = sorted(range(len(episodes)), key=lambda index: _return(episodes[index]))
    named = [("best", order[-1]), ("median", order[(len(order) - 1) // 2]), ("worst", order[0])]
    chosen: dict[int, str] = {}
    for name, index in (named[0], named[2], named[1]):
        chosen.setdefault(index, name)
    return [(name, index) for name, index in named if chosen.get(index) == name]


def _films(watched: Watched, num_watched: int) -> Films | Paragraph:
    chosen = pick(watched.episodes)
    try:
        filmer = Filmer(watched, MAX_FRAMES // (len(chosen) * num_watched))
    except EnvError as error:
        return Paragraph(f"No films of {watched.run.label}: {error}")
    with contextlib.closing(filmer):
        try:
            films = [_film(filmer, watched, name, index) for name, index in chosen]
        except EnvError as error:
            return Paragraph(f"No films of {watched.run.label}: {error}")
    return Films(films)


def _film(filmer: Filmer, watched: Watched, name: str, index: int) -> Film:
    episode = watched.episodes[index]
    still, film, every = filmer.film(
        index,
        f"{name.capitalize()} of {plural(len(watched.episodes), 'episode')} (seed {episode.seed})",
    )
    caption = (
        f"seed {episode.seed}, return {_return(episode):.3f}, {plural(episode.length, 'step')}"
    )
    if episode.success is not None:
        caption += f", {_SUCCESS[episode.success]}"
    if episode.cut:
        caption += ", cut there"
    if every > 1:
        caption += f"; one picture every {every} steps"
    title = f"{watched.run.label}: {name} episode"
    return Film(title, caption, still, film)


def _table(watched: Watched) -> Table:
    caption = f"All episodes of {watched.run.label}, {watched.trained.trial.trial_id}"
    agents = watched.agents if len(watched.agents) > 1 else []
    columns = ("seed", "return", "steps", "outcome", *agents)
    return Table(caption, columns, list(_rows(watched, agents)))


def _rows(watched: Watched, agents: Sequence[str]) -> Iterator[list[Cell]]:
    for episode in watched.episodes:
        yield [
            count(episode.seed),
            fixed(_return(episode)),
            count(episode.length),
            Cell(_SUCCESS[episode.success]),
            *(fixed(episode.returns.get(agent)) for agent in agents),
        ]


def _return(episode: LiveEpisode) -> float:
    return sum(episode.returns.values())
