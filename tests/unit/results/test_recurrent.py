"""Policies that remember are evaluated as RLlib plays them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner

from empo_rllib.acting.play import play_episodes
from empo_rllib.algorithms.builder import build_algorithm_config
from empo_rllib.algorithms.setup import open_env, set_up_trial
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.experiment.run_folder import locate
from empo_rllib.results.crossplay import crossplay
from empo_rllib.results.evaluate import evaluate
from empo_rllib.results.load import load_policies
from empo_rllib.results.record import record

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts

ENV = {"id": "MultiGrid-Empty-5x5-v0", "num_agents": 2, "kwargs": {"max_steps": 30}}


@pytest.fixture(scope="module")
def run(tmp_path_factory, write_run):
    """An untrained run of recurrent policies."""
    model = {"class": "recurrent_net:Recurrent", "kwargs": {"max_seq_len": 10}}
    return write_run(tmp_path_factory.mktemp("runs") / "recurrent", env=ENV, model=model)


@pytest.fixture(scope="module")
def rllib_episodes(run):
    """Three episodes that RLlib's env runner plays with the same networks, actions drawn."""
    trained = locate(run)
    policies = load_policies(trained)
    config = build_algorithm_config(set_up_trial(trained.config))
    runner = MultiAgentEnvRunner(config=config.env_runners(num_envs_per_env_runner=1))
    for name, policy in policies.by_name.items():
        runner.module[name].load_state_dict(policy.module.state_dict())
    episodes = runner.sample(num_episodes=3, explore=True)
    runner.stop()
    return episodes


def test_step_by_step_they_choose_from_what_rllib_chose_from(run, rllib_episodes):
    policies = load_policies(locate(run))
    for episode in rllib_episodes:
        for agent, steps in episode.agent_episodes.items():
            policy, memory = policies.by_name[policies.of_agent[agent]], {}
            assert len(steps) > 3
            for t in range(len(steps)):
                theirs = steps.get_extra_model_outputs("action_dist_inputs", t)
                chosen = policy.act([steps.get_observations(t)], True, [memory])
                assert chosen == [np.argmax(theirs)]
                after = steps.get_extra_model_outputs("state_out", t)["h"]
                np.testing.assert_allclose(memory["h"], after, atol=1e-6)


def test_episodes_at_a_time_and_one_after_the_other_are_the_same(run):
    trained = locate(run)
    policies, make = load_policies(trained), partial(open_env, trained.config.env)

    def play(num_envs):
        envs = [ParallelMultiAgentEnv(make()) for _ in range(num_envs)]
        played = play_episodes(policies, envs, range(5), greedy=True)
        return [(episode.returns, episode.actions) for episode in played]

    assert play(1) == play(4)


def test_a_memory_starts_anew_with_each_episode(run):
    policies = load_policies(locate(run))
    env = ParallelMultiAgentEnv(open_env(locate(run).config.env))
    first = play_episodes(policies, [env], [7], greedy=True)
    again = play_episodes(policies, [env], [6, 7], greedy=True)
    assert first[0].memories["agent_0"]["h"].tolist() == again[1].memories["agent_0"]["h"].tolist()
    assert first[0].memories["agent_0"]["h"].any()


def test_all_commands_play_them_and_say_that_it_was_in_python(run, tmp_path):
    result = evaluate(run, episodes=3, greedy=False)
    assert result.protocol.played_in == "python"
    assert result.references is not None
    assert crossplay([run, run], episodes=2).protocol["played_in"] == "python"
    assert record(run, tmp_path / "film.gif", episodes=1) > 1
