"""Cross-play as people read it on a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from empo_rllib.results.crossplay import CrossplayResult
from empo_rllib.results.evaluation import cut_sentence
from empo_rllib.results.labels import label_of
from empo_rllib.results.table import new_table, render_left_out

# As many columns as fit beside names on a terminal of 80.
_COLUMNS = 8

_GROUPS = "Seeds: means over players of the same settings, with others of their group."


def render_crossplay(result: CrossplayResult) -> RenderableType:
    """Returns the protocol, the matrix of returns, and a row for each player."""
    lines: list[RenderableType] = [Text(describe_play(result)), Text(describe_sides(result))]
    for start in range(0, len(result.players), _COLUMNS):
        lines += [Text(), _matrix(result, range(start, len(result.players))[:_COLUMNS])]
    lines += [Text(), _players_table(result)]
    if result.groups:
        lines.append(Text(_GROUPS))
    if result.episodes_cut:
        limit = f"{result.protocol['episode_limit']:,}"
        lines.append(Text(cut_sentence(result.episodes_cut, result.episodes_played, limit)))
    if result.left_out:
        lines.append(render_left_out(result.left_out))
    return Group(*lines)


def describe_play(result: CrossplayResult) -> str:
    """Returns what was played."""
    protocol = result.protocol
    actions = "greedy actions" if protocol["greedy"] else "sampled actions"
    changed = "".join(f", {setting}" for setting in protocol["settings"])
    return (
        f"{result.env['id']}: {protocol['episodes']} episodes a pair, {actions}, "
        f"seed {protocol['seed']}{changed}"
    )


def describe_sides(result: CrossplayResult) -> str:
    """Returns which agents rows and columns act for."""
    if len(result.sides) == 1:
        first, second = (", ".join(side) for side in result.sides[0])
        return f"mean return; rows act for {first}, columns for {second}"
    if len(result.sides[0][0] + result.sides[0][1]) == 2:
        return "mean return of each pair, played both ways round"
    policies = len(result.sides)
    return f"mean return; rows act for each of {policies} policies in turn, columns for the rest"


def _matrix(result: CrossplayResult, columns: range) -> Table:
    table = new_table(*(str(column + 1) for column in columns))
    for number, (player, row) in enumerate(zip(result.players, result.means, strict=True), 1):
        cells = [
            Text(f"{row[column]:.3f}", style="bold" if column == number - 1 else "")
            for column in columns
        ]
        table.add_row(f"{number} {player.name}", *cells)
    return table


def _players_table(result: CrossplayResult) -> Table:
    table = new_table("self-play", "with others", "drop", "with random", "drop")
    numbers = zip(result.self_play, result.cross_play, result.random_partner, strict=True)
    for player, (own, others, chance) in zip(result.players, numbers, strict=True):
        values = own, others, own - others, chance, own - chance
        table.add_row(player.name, *(f"{value:.3f}" for value in values))
    for group in result.groups:
        table.add_section()
        name = f"{len(group.members)} seeds"
        label = f"{name}: {label_of(group.params)}" if group.params else name
        table.add_row(label, *(f"{value:.3f}" for value in result.sum_up(group).values()))
    return table
