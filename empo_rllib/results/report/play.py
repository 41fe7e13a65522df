"""Episodes that are played for a report: trials are evaluated, the best ones also watched."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from empo_rllib.algorithms.setup import open_checked_env
from empo_rllib.console import Tell
from empo_rllib.errors import ConfigError
from empo_rllib.experiment.run_folder import TrainedTrial
from empo_rllib.results.evaluation import EvaluationResult
from empo_rllib.results.evaluator import Evaluator
from empo_rllib.results.report.runs import ReportedRun, ReportedTrial
from empo_rllib.results.settings import resolve_greedy
from empo_rllib.seeding import repeatable

if TYPE_CHECKING:
    from empo_rllib.acting.play import LiveEpisode
    from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv

# Of each run, the best ones by its metric; and of all runs, those whose best trial is watched.
MAX_EVALUATED = 24
MAX_WATCHED = 4


@dataclass(frozen=True)
class Evaluation:
    """An evaluated trial.

    Attributes:
        run: whose.
        trial: which.
        trained: its checkpoint.
        result: with references, except for the greedy one of a stochastic policy.
        is_best: whether it is the best of several trials by the run's metric, as in `evaluate`.
    """

    run: ReportedRun
    trial: ReportedTrial
    trained: TrainedTrial
    result: EvaluationResult
    is_best: bool = False


@dataclass(frozen=True)
class Grid:
    """What is the same in a grid in all episodes: bool arrays of shape (width, height)."""

    walls: np.ndarray
    goals: np.ndarray


@dataclass(frozen=True)
class Trace:
    """What happened in an episode.

    Attributes:
        actions: of the agents that acted, step by step.
        places: column and row of the agents still there, from the reset on; nothing outside of
            MultiGrid.
    """

    actions: list[dict[str, Any]]
    places: list[dict[str, tuple[int, int]]]


@dataclass(frozen=True)
class Watched:
    """Episodes of one trial, with all that happened.

    Attributes:
        run: whose.
        trained: the checkpoint.
        agents: of the environment.
        episodes: all over, in the order of their seeds.
        traces: one per episode.
        grid: None for an environment that is no MultiGrid.
    """

    run: ReportedRun
    trained: TrainedTrial
    agents: Sequence[str]
    episodes: Sequence[LiveEpisode]
    traces: Sequence[Trace]
    grid: Grid | None


@dataclass(frozen=True)
class PlayedTrials:
    """All that was played; nothing where `episodes` is 0 or no trial has a checkpoint."""

    episodes: int
    seed: int
    evaluations: Sequence[Evaluation] = ()
    watched: Sequence[Watched] = ()

    def results_of(self, trials: Sequence[ReportedTrial]) -> list[EvaluationResult] | None:
        """Returns the result of each trial by the usual protocol; None unless all were evaluated.

        The trials that were evaluated are the best ones: some of a group are no fair sample of it.
        """
        usual = {
            one.trial.folder: one.result
            for one in self.evaluations
            if one.result.references is not None
        }
        found = [usual[trial.folder] for trial in trials if trial.folder in usual]
        return found if len(found) == len(trials) else None


def play(runs: Sequence[ReportedRun], episodes: int, seed: int, tell: Tell) -> PlayedTrials:
    """Evaluates and watches trained trials.

    Args:
        runs: whose trials.
        episodes: how many per trial; 0: none.
        seed: episode i is played with `seed + i`.
        tell: is told what is being done.

    Raises:
        CheckpointError: a checkpoint is damaged.
        ConfigError: an environment or a class that an experiment names is not there.
    """
    if episodes == 0:
        return PlayedTrials(episodes, seed)
    try:
        evaluations = list(_evaluate(runs, episodes, seed, tell))
        # The first evaluation of a run is of its best trial, by the protocol of `evaluate`.
        firsts = [[one for one in evaluations if one.run is run][:1] for run in runs[:MAX_WATCHED]]
        best = [one for of_run in firsts for one in of_run]
        watched = []
        for number, one in enumerate(best, start=1):
            tell(f"Watching the best trial of {one.run.label}: {number} of {len(best)}")
            watched.append(watch(one))
    except ConfigError as error:
        raise type(error)(f"{error}\n--episodes 0 makes the report without playing.") from error
    return PlayedTrials(episodes, seed, evaluations, watched)


def _evaluate(
    runs: Sequence[ReportedRun], episodes: int, seed: int, tell: Tell
) -> Iterator[Evaluation]:
    usual = Evaluator(episodes, seed, greedy=None, references=True)
    greedy = Evaluator(episodes, seed, greedy=True, references=False)
    for run in runs:
        ranked = run.ranked()
        total = min(MAX_EVALUATED, len(ranked))
        loaded = ((trial, trained) for trial in ranked if (trained := run.trained(trial)))
        for number, (trial, trained) in enumerate(itertools.islice(loaded, total), start=1):
            tell(f"Playing {run.label}: trial {number} of {total}")
            is_best = number == 1 and len(run.trials) > 1 and trial.summary.metric is not None
            also_greedy = number == 1 and not resolve_greedy(None, [trained.config])
            for evaluator in (usual, greedy) if also_greedy else (usual,):
                name = f"{run.label}/{trial.id}"
                result = evaluator.evaluate(trained, trained.config, name=name)
                yield Evaluation(run, trial, trained, result, is_best)


class _WatchedEnv:
    """An environment that remembers its episodes by their seeds."""

    def __init__(self, env: ParallelMultiAgentEnv) -> None:
        self._env = env
        self.metadata = env.metadata
        self.traces: dict[int, Trace] = {}
        self._trace = Trace([], [])
        self.grids: list[Grid] = []

    @property
    def agents(self) -> list[str]:
        return self._env.agents

    @property
    def possible_agents(self) -> list[str]:
        return self._env.possible_agents

    def reset(self, *, seed: int) -> Any:
        answer = self._env.reset(seed=seed)
        self._trace = self.traces[seed] = Trace([], [places_of(self._env)])
        grid = grid_of(self._env)
        if grid is not None:
            self.grids.append(grid)
        return answer

    def step(self, actions: Mapping[str, Any]) -> Any:
        answer = self._env.step(dict(actions))
        self._trace.actions.append(dict(actions))
        places = places_of(self._env)
        self._trace.places.append({a: place for a, place in places.items() if a in actions})
        return answer

    def close(self) -> None:
        self._env.close()


def watch(evaluation: Evaluation) -> Watched:
    """Plays the evaluated episodes once more, in Python, and keeps all that happened.

    Actions are sampled for all episodes under way, so as many are under way as were before. Kernels
    start further episodes in another order: then only the first ones are the same.
    """
    from empo_rllib.acting.play import play_episodes
    from empo_rllib.results.load import load_policies

    trained, protocol = evaluation.trained, evaluation.result.protocol
    policies = load_policies(trained)
    seeds = range(protocol.seed, protocol.seed + protocol.episodes)
    envs: list[Any] = []
    try:
        with repeatable(protocol.seed):
            for n in range(protocol.num_envs):
                env = open_checked_env(trained.config.env)
                env.copy_index = n
                envs.append(_WatchedEnv(env))
            limit = protocol.episode_limit
            played = play_episodes(policies, envs, seeds, protocol.greedy, limit)
        traces = {key: trace for env in envs for key, trace in env.traces.items()}
        grids = [grid for env in envs for grid in env.grids]
        return Watched(
            run=evaluation.run,
            trained=trained,
            agents=envs[0].possible_agents,
            episodes=played,
            traces=[traces[episode.seed] for episode in played],
            grid=_common(grids),
        )
    finally:
        for env in envs:
            env.close()


def places_of(env: ParallelMultiAgentEnv) -> dict[str, tuple[int, int]]:
    """Returns column and row of MultiGrid's agents; nothing for another environment."""
    from empo_rllib.envs.multigrid import MultiGridParallelEnv

    if not isinstance(env.env, MultiGridParallelEnv):
        return {}
    agents = env.env.env.unwrapped.agents
    places = [(int(agent.state.pos[0]), int(agent.state.pos[1])) for agent in agents]
    return dict(zip(env.possible_agents, places, strict=True))


def grid_of(env: ParallelMultiAgentEnv) -> Grid | None:
    """Returns where MultiGrid's walls and goals are now; None for another environment."""
    from empo_rllib.envs.multigrid import MultiGridParallelEnv

    if not isinstance(env.env, MultiGridParallelEnv):
        return None
    from multigrid.core.constants import Type

    types = env.env.env.unwrapped.grid.state[..., 0]
    return Grid(types == Type.wall.to_index(), types == Type.goal.to_index())


def _common(grids: Sequence[Grid]) -> Grid | None:
    if not grids or len({grid.walls.shape for grid in grids}) > 1:
        return None
    return Grid(
        np.all([grid.walls for grid in grids], axis=0),
        np.all([grid.goals for grid in grids], axis=0),
    )
