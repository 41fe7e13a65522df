"""Policies that play with the policies of other seeds: who needs the partners it was trained with?

Cross-play as in zero-shot coordination: Hu, Lerer, Peysakhovich and Foerster 2020, "Other-Play" for
zero-shot coordination. docs/evaluate.md defines every number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from empo_rllib.algorithms.setup import open_env
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.console import Tell
from empo_rllib.errors import ConfigError
from empo_rllib.experiment.checkpoints import Which
from empo_rllib.experiment.run_folder import TrainedTrial
from empo_rllib.results.evaluate import check_protocol
from empo_rllib.results.evaluation import success_rate
from empo_rllib.results.find import TrainedRun, find_run, trial_names
from empo_rllib.results.runs import seed_groups
from empo_rllib.results.settings import env_of, resolve_greedy, with_settings
from empo_rllib.seeding import repeatable
from empo_rllib.statistics import Estimate, estimate
from empo_rllib.version import __version__

if TYPE_CHECKING:
    from empo_rllib.acting.episodes import FinishedEpisode
    from empo_rllib.acting.stage import Stage
    from empo_rllib.acting.teams import ActingPolicies

FORMAT = 1

# The agents that the first player of a pair acts for, and those of the second.
Sides = tuple[list[str], list[str]]


@dataclass(frozen=True)
class Player:
    """Whose policies play.

    Attributes:
        name: what tables call it.
        run: the run folder.
        trial: the trial's id.
        checkpoint: the checkpoint's folder.
    """

    name: str
    run: str
    trial: str
    checkpoint: str


@dataclass(frozen=True)
class PlayerGroup:
    """Players that differ only in the seed that they were trained with.

    Attributes:
        members: their indices among the players.
        params: the values sampled for the search spaces of their run, by dotted key.
    """

    members: list[int]
    params: dict[str, Any]


@dataclass(frozen=True)
class CrossplayResult:
    """What every player earns with every other; all returns are sums over agents.

    Attributes:
        env: `id`, `num_agents` and `kwargs` of the environment.
        protocol: `episodes` of each pair, `seed`, `greedy` and more.
        players: P of them.
        sides: how the agents are divided between the players of a pair: those of the first, those
            of the second. With more than one division all are played, and each counts alike.
        returns: P by P, row: the first player.
        returns_by_sides: the mean returns of each division, P by P.
        success_rates: P by P; None where the environment does not tell.
        random_first: what each player earns on the second side, with a random policy on the first.
        random_second: the other way round.
        groups: of players that differ only in the seed.
        left_out: the names of trials of run folders that have no checkpoint.
        episodes_played: how many there were in all.
        episodes_cut: how many of them were cut at the protocol's `episode_limit`.
    """

    env: dict[str, Any]
    protocol: dict[str, Any]
    players: list[Player]
    sides: list[Sides]
    returns: list[list[Estimate]]
    returns_by_sides: list[list[list[float]]]
    success_rates: list[list[float | None]]
    random_first: list[Estimate]
    random_second: list[Estimate]
    groups: list[PlayerGroup] = field(default_factory=list)
    left_out: tuple[str, ...] = ()
    episodes_played: int = 0
    episodes_cut: int = 0

    @property
    def means(self) -> list[list[float]]:
        """The mean returns, P by P."""
        return [[cell.mean for cell in row] for row in self.returns]

    @property
    def self_play(self) -> list[float]:
        """What each player earns with itself."""
        return [row[i] for i, row in enumerate(self.means)]

    @property
    def cross_play(self) -> list[float]:
        """What each player earns with the others, on both sides."""
        return self._with_others(range(len(self.players)))

    @property
    def random_partner(self) -> list[float]:
        """What each player earns with a random policy, on both sides."""
        pairs = zip(self.random_first, self.random_second, strict=True)
        return [(first.mean + second.mean) / 2 for first, second in pairs]

    def sum_up(self, group: PlayerGroup) -> dict[str, float]:
        """Returns what a group's players earn on average, and with the others of the group."""
        members = group.members
        own = _mean([self.self_play[i] for i in members])
        others = _mean(self._with_others(members))
        partner = _mean([self.random_partner[i] for i in members])
        return {
            "self_play": own,
            "cross_play": others,
            "drop": own - others,
            "random_partner": partner,
            "random_partner_drop": own - partner,
        }

    def _with_others(self, players: Sequence[int]) -> list[float]:
        """Returns what each of these players earns with the other ones, on both sides."""
        means, num_others = self.means, len(players) - 1
        return [
            sum(means[i][j] + means[j][i] for j in players if j != i) / (2 * num_others)
            for i in players
        ]

    def to_dict(self) -> dict[str, Any]:
        """Returns the result as plain data."""
        self_play, cross_play, partner = self.self_play, self.cross_play, self.random_partner
        return {
            "format": FORMAT,
            "package_version": __version__,
            "env": self.env,
            "protocol": self.protocol,
            "players": [vars(player) for player in self.players],
            "sides": [list(sides) for sides in self.sides],
            "returns": self.means,
            "returns_by_sides": self.returns_by_sides,
            "intervals_95": [[[cell.low, cell.high] for cell in row] for row in self.returns],
            "success_rates": self.success_rates,
            "self_play": self_play,
            "cross_play": cross_play,
            "drop": [own - other for own, other in zip(self_play, cross_play, strict=True)],
            "random_partner": partner,
            "random_partner_drop": [own - p for own, p in zip(self_play, partner, strict=True)],
            "groups": [
                {
                    "players": [self.players[i].name for i in group.members],
                    "params": group.params,
                    **self.sum_up(group),
                }
                for group in self.groups
            ],
            "left_out": list(self.left_out),
            "episodes_played": self.episodes_played,
            "episodes_cut": self.episodes_cut,
        }

    def to_json(self) -> str:
        """Returns the result as JSON text."""
        return json.dumps(self.to_dict(), indent=2)


def crossplay(
    runs: Iterable[str | Path | TrainedTrial | TrainedRun],
    episodes: int = 100,
    seed: int = 0,
    greedy: bool | None = None,
    settings: Iterable[str] = (),
    tell: Tell = lambda text: None,
    checkpoint: Which = "last",
) -> CrossplayResult:
    """Plays every player with every player, and each with random partners.

    In a pair the first player acts for the agents of one policy, the second for all others, each
    agent by the policy that was trained for it; docs/evaluate.md says which agents these are. All
    pairs play the same episodes. The same arguments give the same numbers.

    Args:
        runs: Run folders (each of their trials), trials or checkpoints, two or more in all,
            trained in the same environment.
        episodes: How many each pair plays.
        seed: Episode i is played on an environment reset with `seed + i`.
        greedy: Take the most likely actions; otherwise draw them as in training. None: draw them,
            unless all players are of DQN.
        settings: `env.key=value` texts that change the environment that was trained in.
        tell: Is told which pair plays.
        checkpoint: Which checkpoint of a trial plays.

    Raises:
        ConfigError: fewer than two players, players that do not fit together, or what `evaluate`
            refuses.
        RunError: there is no run folder, trial or checkpoint.
        CheckpointError: a checkpoint is damaged.
    """
    check_protocol(episodes, seed)
    found = [find_run(run, checkpoint) for run in runs]
    settings = tuple(settings)
    trained = [one for run in found for one in run.trials]
    configs = [with_settings(one.config, settings) for one in trained]
    names = trial_names(found)
    check_players(configs, names.played)
    greedy = resolve_greedy(greedy, configs)

    from empo_rllib.acting.stage import Stage
    from empo_rllib.results.load import load_policies

    teams = [load_policies(one, config) for one, config in zip(trained, configs, strict=True)]
    env = configs[0].env
    stage = Stage(partial(open_env, env), episodes, teams, env.allow_infinite_observations)
    try:
        pairs = _Pairs(stage, teams, range(seed, seed + episodes), greedy, tell)
        played = pairs.play_all()
    finally:
        stage.close()
    return CrossplayResult(
        env=env_of(configs[0]),
        protocol={
            "episodes": episodes,
            "seed": seed,
            "greedy": greedy,
            "settings": list(settings),
            "played_in": stage.played_in,
            "num_envs": stage.num_envs,
            "episode_limit": stage.limit,
        },
        players=[
            Player(name, str(one.run), one.trial.trial_id, str(one.checkpoint))
            for name, one in zip(names.played, trained, strict=True)
        ],
        sides=pairs.sides,
        left_out=names.left_out,
        groups=[
            PlayerGroup(members, trained[members[0]].trial.params)
            for members in seed_groups([one.config for one in trained])
        ],
        **played,
    )


def check_players(configs: Sequence[ExperimentConfig], names: Sequence[str]) -> None:
    """Refuses players that cannot play with each other, as far as their experiments tell.

    Args:
        configs: the experiment of each player.
        names: what tables call the players.

    Raises:
        ConfigError: as said.
    """
    if len(configs) < 2:
        raise ConfigError("crossplay takes at least two runs, trials or checkpoints.")
    of_learning = {"team_reward"}
    first = configs[0].env.model_dump(exclude=of_learning)
    for config, name in zip(configs[1:], names[1:], strict=True):
        for key, value in config.env.model_dump(exclude=of_learning).items():
            if value != first[key]:
                raise ConfigError(
                    f"{names[0]} and {name} were trained in other environments: "
                    f"env.{key} = {first[key]!r} and {value!r}. Say which one to play in: --set "
                    f"env.{key}=VALUE."
                )


class _Pairs:
    """Plays pairs of players; a player that is None acts at random."""

    def __init__(
        self,
        stage: Stage,
        teams: Sequence[ActingPolicies],
        seeds: range,
        greedy: bool,
        tell: Tell = lambda text: None,
    ) -> None:
        self._stage, self._teams, self._seeds, self._greedy = stage, teams, seeds, greedy
        self._tell = tell
        self._num_begun = 0
        self.sides = _divide(stage.env.possible_agents, teams)
        self._played: dict[tuple[int | None, ...], list[FinishedEpisode]] = {}

    def play_all(self) -> dict[str, Any]:
        """Plays everybody with everybody; returns the numbers of a `CrossplayResult`."""
        players = range(len(self._teams))
        table = [[self.play(i, j) for j in players] for i in players]
        random_first = [_returns(self.play(None, i)) for i in players]
        random_second = [_returns(self.play(i, None)) for i in players]
        every = [episode for played in self._played.values() for episode in played]
        return {
            "returns": [[_returns(cell) for cell in row] for row in table],
            "returns_by_sides": [
                [[_returns(self._play(i, j, sides)).mean for j in players] for i in players]
                for sides in self.sides
            ],
            "success_rates": [[success_rate(cell) for cell in row] for row in table],
            "random_first": random_first,
            "random_second": random_second,
            "episodes_played": len(every),
            "episodes_cut": sum(episode.cut for episode in every),
        }

    def play(self, first: int | None, second: int | None) -> list[FinishedEpisode]:
        """Returns a pair's episodes, with every division of the agents."""
        self._num_begun += 1
        players = len(self._teams)
        self._tell(f"Playing pair {self._num_begun} of {players * (players + 2)}")
        divisions = self.sides[:1] if first == second else self.sides
        return [episode for sides in divisions for episode in self._play(first, second, sides)]

    def _play(self, first: int | None, second: int | None, sides: Sides) -> list[FinishedEpisode]:
        agents = self._stage.env.possible_agents
        who = tuple(first if agent in sides[0] else second for agent in agents)
        if who not in self._played:
            with repeatable(self._seeds[0]):
                team = self._join(first, second, sides)
                self._played[who] = self._stage.play(team, self._seeds, self._greedy)
        return self._played[who]

    def _join(self, first: int | None, second: int | None, sides: Sides) -> ActingPolicies:
        from empo_rllib.acting.teams import join_teams

        if first == second:  # as `evaluate` plays it, also where one policy acts on both sides
            return self._team(first)
        return join_teams(
            {
                "first": (self._team(first), sides[0]),
                "second": (self._team(second), sides[1]),
            }
        )

    def _team(self, player: int | None) -> ActingPolicies:
        from empo_rllib.acting.teams import random_team

        if player is not None:
            return self._teams[player]
        return random_team(self._stage.env, self._seeds[0])


def _divide(agents: Sequence[str], teams: Sequence[ActingPolicies]) -> list[Sides]:
    """Returns how agents are divided between the two players of a pair.

    Raises:
        ConfigError: there is one agent only, or the players' policies divide the agents otherwise.
    """
    if len(agents) < 2:
        raise ConfigError("crossplay needs an environment with at least two agents.")
    # One policy for all can act for any of them.
    divided = [groups for team in teams if len(groups := _groups(agents, team)) > 1]
    first, *others = divided or [[[agent] for agent in agents]]
    for other in others:
        if other != first:
            raise ConfigError(
                f"the policies of one player act for {_listed(first)}, those of another for "
                f"{_listed(other)}: they cannot take each other's place. Cross-play runs whose "
                "policies divide the agents alike."
            )
    # For two policies the other way round is the transposed matrix. Of many agents with one policy
    # each is as good as the first.
    in_turn = len(first) > 2 if divided else len(agents) == 2
    groups = first if in_turn else first[:1]
    return [(group, [agent for agent in agents if agent not in group]) for group in groups]


def _groups(agents: Sequence[str], team: ActingPolicies) -> list[list[str]]:
    """Returns the agents of each policy."""
    found: dict[str, list[str]] = {}
    for agent in agents:
        found.setdefault(team.of_agent[agent], []).append(agent)
    return list(found.values())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _listed(groups: Sequence[Sequence[str]]) -> str:
    return " | ".join(", ".join(group) for group in groups)


def _returns(played: Sequence[FinishedEpisode]) -> Estimate:
    """Estimates the return; an episode that was played with several divisions counts once."""
    by_seed: dict[int | None, list[float]] = {}
    for episode in played:
        by_seed.setdefault(episode.seed, []).append(episode.episode_return)
    return estimate([sum(returns) / len(returns) for returns in by_seed.values()])
