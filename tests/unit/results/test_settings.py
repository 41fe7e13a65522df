"""One default for greedy or sampled actions: sampled where the policy is stochastic."""

from __future__ import annotations

import pytest

import empo_rllib
from empo_rllib.acting.play import play_episodes
from empo_rllib.algorithms.setup import open_env
from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.results.crossplay import crossplay
from empo_rllib.results.evaluate import evaluate_runs
from empo_rllib.results.load import load_policies
from empo_rllib.results.record import record
from empo_rllib.results.report.play import play
from empo_rllib.results.report.runs import read_runs
from empo_rllib.results.settings import resolve_greedy

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts

ENV = {"id": "MultiGrid-Empty-5x5-v0", "num_agents": 2, "kwargs": {"max_steps": 5}}


def experiments(*algorithms):
    return [
        ExperimentConfig.model_validate(
            {"name": "run", "env": ENV, "algorithm": {"name": algorithm}}
        )
        for algorithm in algorithms
    ]


@pytest.fixture(scope="module")
def runs(write_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [write_run(folder / name, ENV, name) for name in ("PPO", "DQN")]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_dqn_is_greedy_unless_asked_otherwise_and_every_other_is_sampled(algorithm):
    assert resolve_greedy(None, experiments(algorithm)) is (algorithm == "DQN")
    assert resolve_greedy(True, experiments(algorithm)) is True
    assert resolve_greedy(False, experiments(algorithm)) is False


def test_policies_that_play_together_are_greedy_only_if_all_are():
    assert resolve_greedy(None, experiments("DQN", "DQN")) is True
    assert resolve_greedy(None, experiments("DQN", "PPO")) is False


def test_each_run_is_evaluated_in_its_own_way(runs):
    results = evaluate_runs(runs, episodes=1, references=False).runs
    assert [result.protocol.greedy for result in results] == [False, True]
    assert empo_rllib.evaluate(runs[1], episodes=1, references=False).protocol.greedy is True
    assert evaluate_runs(runs, 1, 0, True, references=False).runs[0].protocol.greedy is True


def test_crossplay_says_in_which_way_it_was_played(runs):
    assert crossplay(runs, episodes=1).protocol["greedy"] is False
    assert crossplay([runs[1], runs[1]], episodes=1).protocol["greedy"] is True
    assert crossplay(runs, episodes=1, greedy=True).protocol["greedy"] is True


def test_a_table_of_runs_names_both_ways(command, runs):
    _, out, _ = command("evaluate", *runs, "--episodes", 1, "--no-references")
    assert "1 episodes, sampled or greedy actions, seed 0" in out


def test_films_of_dqn_are_greedy(runs, tmp_path):
    def film(name, **how):
        record(runs[1], tmp_path / name, episodes=1, **how)
        return (tmp_path / name).read_bytes()

    assert film("default.gif") == film("greedy.gif", greedy=True)
    assert film("default.gif") != film("sampled.gif", greedy=False)


def test_a_report_plays_dqn_greedily_once(runs):
    played = play(read_runs(runs[1:]), 2, 0, lambda text: None)
    (one,) = played.evaluations
    assert one.result.protocol.greedy is True
    assert one.result.references is not None
    policies = load_policies(one.trained)
    env = ParallelMultiAgentEnv(open_env(one.trained.config.env))
    greedy = play_episodes(policies, [env], range(2), greedy=True)
    env.close()
    watched = played.watched[0].episodes
    assert [last.actions for last in watched] == [last.actions for last in greedy]
