"""Section: what policies earn with partners that they were not trained with."""

from __future__ import annotations

from collections.abc import Iterator

from empo_rllib.results.report.charts.heat import level_of
from empo_rllib.results.report.crossplay import HOW_TO_MAKE, CrossPlay
from empo_rllib.results.report.numbers import NOTHING, fixed
from empo_rllib.results.report.parts import Cell, Code, Paragraph, ReportSection, Table


def build_crossplay(crossplay: CrossPlay | None) -> ReportSection:
    """Returns the matrix and what follows from it, or how to get one."""
    title = "Cross-play"
    if crossplay is None:
        text = (
            "No cross-play was given: what policies earn with partners they were not trained "
            "with. Make it and this report again with"
        )
        again = "python -m empo_rllib report RUN --out report.html --crossplay crossplay.json"
        return ReportSection(
            "crossplay", title, [Paragraph(text), Code("", f"{HOW_TO_MAKE}\n{again}")]
        )
    protocol, (low, high) = crossplay.protocol, colour_range(crossplay)
    actions = "greedy" if protocol.greedy else "sampled"
    text = (
        f"{crossplay.env.get('id', 'the environment')}: {protocol.episodes} episodes per pair, "
        f"{actions} actions, seed {protocol.seed}. A row's policies play with a column's; on the "
        "diagonal they play with those they were trained with. The stronger the colour, the higher "
        f"the return: it goes from {low:.3f} to {high:.3f}, a range that includes 0, so that small "
        "differences look small."
    )
    return ReportSection(
        "crossplay", title, [Paragraph(text), _matrix(crossplay), _players(crossplay)]
    )


def colour_range(crossplay: CrossPlay) -> tuple[float, float]:
    """Returns the returns with the weakest and the strongest colour, as in the command's figure."""
    found = [value for row in (*crossplay.returns, crossplay.random_partner) for value in row]
    return min(0.0, *found), max(0.0, *found)


def _matrix(crossplay: CrossPlay) -> Table:
    low, high = colour_range(crossplay)
    names = [player.name for player in crossplay.players]
    rows = [
        [Cell(name), *(_cell(crossplay, i, j, low, high) for j in range(len(names)))]
        for i, name in enumerate(names)
    ]
    columns = ["policies", *(f"with {name}" for name in names)]
    return Table("Return of every pair, and its 95 % interval", columns, rows)


def _cell(crossplay: CrossPlay, i: int, j: int, low: float, high: float) -> Cell:
    value, (start, end) = crossplay.returns[i][j], crossplay.intervals_95[i][j]
    text = f"{value:.3f}"
    if start is not None and end is not None:  # of one episode there is none
        text += f" ({start:.3f} to {end:.3f})"
    rate = crossplay.success_rates[i][j]
    if rate is not None:
        text += f", success {rate:.0%}"
    return Cell(text, value, level_of((value - low) / (high - low) if high > low else 0.0))


def _players(crossplay: CrossPlay) -> Table:
    columns = (
        "policies",
        "self-play",
        "drop with others",
        "with a random partner",
        "drop with it",
        "run",
        "trial",
        "checkpoint",
    )
    return Table("Policies", columns, list(_player_rows(crossplay)))


def _player_rows(crossplay: CrossPlay) -> Iterator[list[Cell]]:
    for index, player in enumerate(crossplay.players):
        numbers = (
            crossplay.self_play,
            crossplay.drop,
            crossplay.random_partner,
            crossplay.random_partner_drop,
        )
        texts = (player.run, player.trial, player.checkpoint)
        yield [
            Cell(player.name),
            *(fixed(values[index]) for values in numbers),
            *(Cell(text or NOTHING) for text in texts),
        ]
