"""Plays a checkpoint's policies by one protocol and measures them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from empo_rllib.algorithms.setup import open_env
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.config.sections import EnvConfig
from empo_rllib.experiment.run_folder import TrainedTrial
from empo_rllib.results.evaluation import (
    EvaluationResult,
    Protocol,
    RandomReference,
    References,
    Source,
    build_result,
    success_interval,
    success_rate,
)
from empo_rllib.results.settings import env_of, resolve_greedy
from empo_rllib.seeding import repeatable
from empo_rllib.statistics import estimate

if TYPE_CHECKING:
    from empo_rllib.acting.stage import Stage

#: Episodes of the random policy: enough for a line to compare with.
RANDOM_EPISODES = 100


class Evaluator:
    """Evaluates runs one after the other, by one protocol.

    Args:
        episodes: as in `evaluate`, and so are the others.
        seed: see there.
        greedy: see there.
        references: see there; they are found once for each environment.
    """

    def __init__(self, episodes: int, seed: int, greedy: bool | None, references: bool) -> None:
        self._episodes, self._seed, self._greedy = episodes, seed, greedy
        self._wants_references = references
        self._references: dict[str, References] = {}

    def evaluate(
        self,
        trained: TrainedTrial,
        config: ExperimentConfig,
        settings: Sequence[str] = (),
        name: str = "",
    ) -> EvaluationResult:
        """Evaluates a checkpoint.

        Args:
            trained: the checkpoint.
            config: its experiment, after `with_settings`.
            settings: what that was told.
            name: what tables call it; by default the run's name.
        """
        from empo_rllib.acting.stage import Stage
        from empo_rllib.results.load import load_policies

        greedy = resolve_greedy(self._greedy, [config])
        team = load_policies(trained, config)
        stage = Stage(
            partial(open_env, config.env),
            self._episodes,
            [team],
            config.env.allow_infinite_observations,
        )
        try:
            with repeatable(self._seed):
                played = stage.play(team, self._seeds, greedy)
            references = self._find_references(config.env, stage)
        finally:
            stage.close()
        protocol = Protocol(
            checkpoint=str(trained.checkpoint),
            env=env_of(config),
            episodes=self._episodes,
            seed=self._seed,
            greedy=greedy,
            settings=tuple(settings),
            played_in=stage.played_in,
            num_envs=stage.num_envs,
            episode_limit=stage.limit,
        )
        source = Source(
            name or trained.config.name,
            str(trained.run),
            trained.trial.trial_id,
            trained.config.seed,
        )
        return build_result(protocol, played, team.of_agent, references, source)

    @property
    def _seeds(self) -> range:
        return range(self._seed, self._seed + self._episodes)

    def _find_references(self, env: EnvConfig, stage: Stage) -> References | None:
        key = env.model_dump_json()
        if self._wants_references and key not in self._references:
            self._references[key] = find_references(stage, self._seeds)
        return self._references.get(key)


def find_references(stage: Stage, seeds: range) -> References:
    """Plays the random policy and searches for the optimum.

    Args:
        stage: where episodes are played.
        seeds: of the episodes to compare with, of which the random policy plays the first.
    """
    from empo_rllib.acting.teams import random_team
    from empo_rllib.results.optimum import optimal_return

    env = stage.env
    team = random_team(env, seeds[0])
    with repeatable(seeds[0]):
        played = stage.play(team, seeds[:RANDOM_EPISODES], greedy=False)
    random_policy = RandomReference(
        episodes=len(played),
        episode_return=estimate([episode.episode_return for episode in played]),
        episode_length=estimate([episode.length for episode in played]),
        success_rate=success_rate(played),
        success_interval_95=success_interval(played),
        episodes_cut=sum(episode.cut for episode in played),
    )
    return References(random_policy, optimal_return(env, seeds))
