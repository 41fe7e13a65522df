"""Returns, lengths and who acts are the same in every way of playing, and those of a plain loop."""

from __future__ import annotations

import pytest
from games import GAMES, Game, paid
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner

from empo_rllib.acting.play import play_episodes
from empo_rllib.acting.teams import random_team
from empo_rllib.algorithms.builder import build_algorithm_config
from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.config.load import validate_config
from empo_rllib.envs.env_errors import ReportingEnv
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.errors import EnvError
from empo_rllib.sampling.episode_window import SAMPLED_EPISODES

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts


def plain_loop(game):
    """Returns, lengths and who was asked, from the script alone."""
    script = Game(game).script
    asked, returns, lengths = [], {}, {}
    for moment in range(1, len(script)):
        there, notes = script[moment - 1]
        acting = sorted(set(there) - set(notes.get("waits", "")))
        asked.append(tuple(acting))
        for agent in acting:
            lengths[agent] = lengths.get(agent, 0) + 1
        for agent in set(there) & set(lengths):
            pay = 0.0 if agent in script[moment][1].get("unpaid", "") else paid(agent, moment)
            returns[agent] = returns.get(agent, 0.0) + pay
    return returns, lengths, asked


@pytest.fixture
def runner(tmp_path):
    """Makes an env runner of a game, which has one env."""
    made = []

    def make(game, sampler):
        config = validate_config(
            {
                "name": "run",
                "env": {"id": "games:Game", "kwargs": {"game": game}},
                "algorithm": {"name": "PPO"},
                "resources": {"sampler": sampler, "num_envs_per_env_runner": 1},
            }
        )
        setup = set_up_trial(config)
        built = build_algorithm_config(setup, env_error_file=tmp_path / "env_error.txt")
        made.append((built.env_runner_cls or MultiAgentEnvRunner)(config=built, worker_index=0))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def agent_steps_told(made):
    """What env runners tell `Counters` of the calls of `sample` so far."""
    (sampled,) = made.get_metrics()[SAMPLED_EPISODES].peek()
    return sampled.agent_steps


@pytest.mark.parametrize("game", GAMES)
def test_evaluation(game):
    env = ParallelMultiAgentEnv(Game(game))
    (episode,) = play_episodes(random_team(env.env, 0), [env], [0], greedy=False)

    returns, lengths, asked = plain_loop(game)
    assert {a: episode.returns[a] for a in episode.lengths} == pytest.approx(returns)
    assert dict(episode.lengths) == lengths
    assert env.env.asked == asked
    assert episode.length == len(asked)


@pytest.mark.parametrize("game", GAMES)
def test_the_sampler_python(game, runner):
    made = runner(game, "python")
    (episode,) = made.sample(num_episodes=1)
    assert agent_steps_told(made) == sum(plain_loop(game)[1].values())

    returns, lengths, asked = plain_loop(game)
    assert episode.returns == pytest.approx(returns)
    assert episode.lengths == lengths
    assert episode.length == len(asked)
    (fragment,) = made.sample(num_timesteps=2 * len(asked), force_reset=True)
    assert fragment.agent_steps() == 2 * sum(lengths.values())
    assert fragment.rewards[fragment.present].sum() == pytest.approx(2 * sum(returns.values()))


def test_what_rllib_cannot_hold_is_refused(tmp_path):
    env = ReportingEnv(tmp_path / "error.txt", Game("b takes over"))
    env.reset()
    with pytest.raises(EnvError, match=r"all agents ended .* b joined.*resources.sampler: python"):
        env.step({"a": 0})
    assert "b joined" in (tmp_path / "error.txt").read_text()


@pytest.mark.parametrize("game", [game for game in GAMES if game != "b takes over"])
def test_the_sampler_rllib(game, runner):
    made = runner(game, "rllib")
    (episode,) = made.sample(num_episodes=1)
    assert agent_steps_told(made) == sum(plain_loop(game)[1].values())

    returns, lengths, asked = plain_loop(game)
    played = episode.agent_episodes
    assert {agent: one.get_return() for agent, one in played.items()} == pytest.approx(returns)
    assert {agent: len(one) for agent, one in played.items()} == lengths
    assert episode.env_steps() == len(asked)
