"""Returns, lengths and actions are the same in every way of playing, and those of a plain loop."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from games import GAMES, Game, paid
from ray.rllib.core.columns import Columns
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner

from empo_rllib.acting.play import play_episodes
from empo_rllib.algorithms.builder import build_algorithm_config
from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.bundle import load_bundle
from empo_rllib.config.load import validate_config
from empo_rllib.envs.env_errors import ReportingEnv
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.errors import EnvError
from empo_rllib.experiment.run_folder import locate
from empo_rllib.exporting import check
from empo_rllib.exporting.export import export
from empo_rllib.results.captions import Layout
from empo_rllib.results.load import load_policies
from empo_rllib.results.record import Camera, _film, action_text
from empo_rllib.sampling.episode_window import SAMPLED_EPISODES

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts


@pytest.fixture(scope="module")
def run(write_run, tmp_path_factory):
    """An untrained run with a policy for each agent that any of the games has."""
    env = {"id": "games:Game", "kwargs": {"game": "join one by one"}}
    return write_run(tmp_path_factory.mktemp("games") / "run", env=env)


@pytest.fixture(scope="module")
def team(run):
    """The policies of the run."""
    return load_policies(locate(run))


@pytest.fixture(scope="module")
def choose(team):
    """Returns what the network of an agent finds best at a moment, by hand."""
    env = Game("join one by one")

    @functools.cache
    def best(agent, moment):
        seen = torch.full((1, *env.observation_space(agent).shape), float(moment))
        with torch.no_grad():
            outputs = team.by_name[agent].module.forward_inference({Columns.OBS: seen})
        start = env.action_space(agent).start
        return int(outputs[Columns.ACTION_DIST_INPUTS].argmax() + start)

    return best


@pytest.fixture
def plain_loop(choose):
    """Plays a game by its script alone: returns, lengths, and actions step by step."""

    def play(game):
        script = Game(game).script
        acted, returns, lengths = [], {}, {}
        for moment in range(1, len(script)):
            there, notes = script[moment - 1]
            acting = sorted(set(there) - set(notes.get("waits", "")))
            acted.append({agent: choose(agent, moment - 1) for agent in acting})
            for agent in acting:
                lengths[agent] = lengths.get(agent, 0) + 1
            for agent in set(there) & set(lengths):
                pay = 0.0 if agent in script[moment][1].get("unpaid", "") else paid(agent, moment)
                returns[agent] = returns.get(agent, 0.0) + pay
        return returns, lengths, acted

    Game.acted.clear()
    return play


def test_the_policies_tell_moments_apart(choose):
    assert (
        len({choose(agent, moment) - "abc".index(agent) for agent in "abc" for moment in range(6)})
        > 1
    )


@pytest.fixture
def runner(tmp_path, team):
    """Makes an env runner of a game, which has one env, with the networks of the run."""
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
        for name, policy in team.by_name.items():
            if name in made[-1].module:
                made[-1].module[name].set_state(policy.module.get_state())
        return made[-1]

    yield make
    for one in made:
        one.stop()


def agent_steps_told(made):
    """What env runners tell `Counters` of the calls of `sample` so far."""
    (sampled,) = made.get_metrics()[SAMPLED_EPISODES].peek()
    return sampled.agent_steps


@pytest.mark.parametrize("game", GAMES)
def test_evaluation(game, plain_loop, team):
    env = ParallelMultiAgentEnv(Game(game))
    (episode,) = play_episodes(team, [env], [0], greedy=True)

    returns, lengths, acted = plain_loop(game)
    assert {a: episode.returns[a] for a in episode.lengths} == pytest.approx(returns)
    assert dict(episode.lengths) == lengths
    assert Game.acted == acted
    assert episode.length == len(acted)


@pytest.mark.parametrize("game", GAMES)
def test_films(game, plain_loop, team, monkeypatch):
    captions = []
    draw = Layout.draw
    monkeypatch.setattr(Layout, "draw", lambda *args: captions.append(args[-1]) or draw(*args))
    camera = Camera(ParallelMultiAgentEnv(Game(game)), [])
    assert len(list(_film(team, camera, range(1), True, 5.0, lambda text: None))) == len(captions)

    returns, lengths, acted = plain_loop(game)
    assert Game.acted == acted
    assert [caption.progress.split(",")[0] for caption in captions] == [
        f"Step {step}" for step in range(len(acted) + 1)
    ]
    shown = dict.fromkeys(Game(game).possible_agents, action_text(None))
    for caption, actions in zip(captions[1:], acted, strict=True):
        shown |= {agent: action_text(action) for agent, action in actions.items()}
        assert {line.name: line.action for line in caption.agents} == shown
    told = {line.name: line.episode_return for line in captions[-1].agents}
    assert {agent: told[agent] for agent in lengths} == pytest.approx(returns)


def test_the_bundle(run, tmp_path, choose, monkeypatch):
    monkeypatch.setattr(check, "NUM_OBSERVATIONS", 20)  # its own comparison, which takes long
    export(run, tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle", seed=0)
    env = Game("join one by one")
    for agent in env.possible_agents:
        for moment in range(max(map(len, GAMES.values()))):
            seen = np.full(env.observation_space(agent).shape, moment, np.float32)
            assert bundle.act(seen, agent) == choose(agent, moment)


@pytest.mark.parametrize("game", GAMES)
def test_the_sampler_python(game, runner, plain_loop):
    made = runner(game, "python")
    (episode,) = made.sample(num_episodes=1, explore=False)
    returns, lengths, acted = plain_loop(game)
    assert agent_steps_told(made) == sum(lengths.values())
    assert episode.returns == pytest.approx(returns)
    assert episode.lengths == lengths
    assert episode.length == len(acted)

    (fragment,) = made.sample(num_timesteps=2 * len(acted), force_reset=True, explore=False)
    assert fragment.agent_steps() == 2 * sum(lengths.values())
    assert fragment.rewards[fragment.present].sum() == pytest.approx(2 * sum(returns.values()))
    assert Game.acted == 3 * acted


def test_what_rllib_cannot_hold_is_refused(tmp_path):
    env = ReportingEnv(tmp_path / "error.txt", Game("b takes over"))
    env.reset()
    with pytest.raises(EnvError, match=r"all agents ended .* b joined.*resources.sampler: python"):
        env.step({"a": 0})
    assert "b joined" in (tmp_path / "error.txt").read_text()


@pytest.mark.parametrize("game", [game for game in GAMES if game != "b takes over"])
def test_the_sampler_rllib(game, runner, plain_loop):
    made = runner(game, "rllib")
    (episode,) = made.sample(num_episodes=1, explore=False)

    returns, lengths, acted = plain_loop(game)
    assert agent_steps_told(made) == sum(lengths.values())
    played = episode.agent_episodes
    assert {agent: one.get_return() for agent, one in played.items()} == pytest.approx(returns)
    assert {agent: len(one) for agent, one in played.items()} == lengths
    assert episode.env_steps() == len(acted)
    assert Game.acted == acted
