"""The env runner tells RLlib what RLlib's own would."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.utils.metrics import WEIGHTS_SEQ_NO

from empo_rllib.acting.episodes import FinishedEpisode
from empo_rllib.algorithms import builder
from empo_rllib.algorithms.builder import build_algorithm_config
from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.config.load import validate_config
from empo_rllib.envs import multi_agent_env
from empo_rllib.envs.batched import multigrid as batched_multigrid
from empo_rllib.envs.batched.random import first_states
from empo_rllib.envs.env_warnings import read_warnings
from empo_rllib.envs.multigrid import MultiGridParallelEnv
from empo_rllib.sampling.callback import EpisodeArrays, SampleCallback
from empo_rllib.sampling.env_runner import FragmentEnvRunner
from empo_rllib.sampling.episode_window import SAMPLED_EPISODES
from empo_rllib.sampling.fragment import Fragment

# RLlib registers its env with Gymnasium once for every env runner.
pytestmark = pytest.mark.filterwarnings("ignore:.*already in registry")

STEPS = 60
# Here nothing goes through connectors, and resets are part of steps.
OF_RLLIB = (
    "connector",
    "env_to_module",
    "module_to_env",
    "timers/connectors",
    "env_reset_timer",
)


@pytest.fixture
def runner(tmp_path):
    """Makes an env runner of an experiment on Empty-5x5 with three agents and two policies."""
    made = []

    def make(
        sampler="batched",
        seed=0,
        policies=None,
        worker_index=0,
        in_evaluation=False,
        callbacks=(),
        **env,
    ):
        kwargs = {"max_steps": 50, "success_termination_mode": "all", **env}
        config = validate_config(
            {
                "name": "run",
                "seed": seed,
                "env": {"id": "MultiGrid-Empty-5x5-v0", "num_agents": 3, "kwargs": kwargs},
                "policies": policies or {"agent_0": "one", "agent_[12]": "two"},
                "algorithm": {"name": "PPO", "params": {"train_batch_size_per_learner": 4 * STEPS}},
                "resources": {"sampler": sampler, "num_envs_per_env_runner": 4},
            }
        )
        built = build_algorithm_config(
            set_up_trial(config), env_error_file=tmp_path / "env_error.txt"
        )
        built.in_evaluation = in_evaluation
        built.callbacks([*built.callbacks_class, *callbacks])
        kind = built.env_runner_cls or MultiAgentEnvRunner
        made.append(kind(config=built, worker_index=worker_index))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def reduced(metrics):
    """Returns the tree of metrics with plain numbers."""
    if isinstance(metrics, dict):
        return {key: reduced(value) for key, value in metrics.items()}
    return metrics.peek() if hasattr(metrics, "peek") else metrics


def keys_of(metrics):
    return {
        f"{key}/{inner}" if isinstance(value, dict) else key
        for key, value in metrics.items()
        for inner in (value if isinstance(value, dict) else [""])
    }


@pytest.mark.parametrize("sampler", ["batched", "python"])
def test_the_metrics_have_rllibs_keys(runner, sampler):
    found = []
    for name in ("rllib", sampler):
        one = runner(name)
        assert isinstance(one, FragmentEnvRunner) == (name != "rllib")
        for _ in range(2):
            one.sample()
        keys = keys_of(reduced(one.get_metrics()))
        found.append({key for key in keys if not key.startswith(OF_RLLIB)})
    # RLlib's means over episodes are not kept; ours and RLlib's own env runner log the episodes.
    means = {key for key in found[0] if key.startswith(("episode_", "agent_", "module_episode"))}
    assert found[1] == found[0] - means
    assert SAMPLED_EPISODES in found[1]
    assert len(found[1]) > 15


def test_the_seed_of_a_run_without_others_is_rllibs(runner):
    found = []
    for name in ("rllib", "batched"):
        one = runner(name, 7)
        drawn = random.random(), np.random.random(), float(torch.rand(()))
        weights = next(one.module["one"].parameters()).flatten()[:5].tolist()
        found.append((one._seed, one.config.seed, torch.initial_seed(), drawn, weights))
    assert found[0] == found[1]
    assert found[0][:3] == (7, 7, 7)


@pytest.mark.parametrize("sampler", ["batched", "python", "rllib"])
def test_no_two_envs_of_runs_that_differ_in_the_seed_play_the_same(runner, sampler, monkeypatch):
    """RLlib adds env runner and copy to the seed: then 39 of 40 copies of seeds 0 and 1 agree."""
    seeds = []
    reset = MultiGridParallelEnv.reset

    def watched(self, seed=None, options=None):
        if seed is not None:
            seeds.append(seed)
        return reset(self, seed, options)

    def states(seed, num_envs):
        drawn = first_states(seed, num_envs)
        if seed is not None:
            seeds.extend(drawn.tolist())
        return drawn

    parts = [
        (0, 0, False),
        (0, 1, False),
        (0, 2, False),
        (1, 1, False),
        (2, 0, False),
        (0, 1, True),
    ]
    for seed, worker_index, in_evaluation in parts:
        one = runner(sampler, seed, worker_index=worker_index, in_evaluation=in_evaluation)
        with monkeypatch.context() as patch:
            if sampler == "batched":
                patch.setattr(batched_multigrid, "first_states", states)
            else:
                patch.setattr(MultiGridParallelEnv, "reset", watched)
            one.sample(num_episodes=4) if in_evaluation else one.sample()
    assert len(seeds) == len(set(seeds)) == 4 * len(parts)


def test_the_counters_are_those_of_the_fragment(runner):
    one = runner()
    fragments = [one.sample()[0] for _ in range(3)]
    metrics = reduced(one.get_metrics())
    assert metrics["num_env_steps_sampled"] == 3 * 4 * STEPS
    acted = sum(fragment.present.sum((0, 1)) for fragment in fragments)
    agents = metrics["num_agent_steps_sampled"]
    assert [agents[f"agent_{i}"] for i in range(3)] == acted.tolist()
    modules = metrics["num_module_steps_sampled"]
    assert (modules["one"], modules["two"]) == (acted[0], acted[1] + acted[2])
    assert metrics["num_episodes"] == sum(len(f.final_index) for f in fragments)
    assert acted.sum() < 3 * 3 * 4 * STEPS  # somebody left early, or this shows nothing


def test_returns_are_those_of_the_episodes(runner):
    one = runner(joint_reward=True)
    (fragment,) = one.sample()
    (sampled,) = reduced(one.get_metrics())[SAMPLED_EPISODES]
    assert (sampled.clock, sampled.steps, sampled.num_envs) == (0, STEPS, 4)
    expected = []
    for n in range(4):
        ends = np.flatnonzero(fragment.episode_over[:, n]).tolist()
        rewards = np.where(fragment.present[:, n], fragment.rewards[:, n], 0.0)
        starts = [0, *(end + 1 for end in ends[:-1])]
        for start, end in zip(starts, ends, strict=True):
            returns = rewards[start : end + 1].sum(0).tolist()
            expected.append((end + 1, n, end + 1 - start, returns))
    found = [
        (step, n, episode.length, list(episode.agent_returns.values()))
        for n, step, episode in sampled.ended
    ]
    assert found == [
        (step, n, length, pytest.approx(returns)) for step, n, length, returns in sorted(expected)
    ]
    for _, _, episode in sampled.ended:
        by_agent = episode.agent_returns
        assert episode.policy_returns["one"] == by_agent["agent_0"]
        assert episode.policy_returns["two"] == by_agent["agent_1"] + by_agent["agent_2"]
        assert episode.success in (0.0, 1.0)
    assert sum(sum(returns) for *_, returns in expected) > 0


@pytest.mark.parametrize("sampler", ["batched", "python", "rllib"])
def test_the_episodes_of_an_env_follow_each_other(runner, sampler):
    """What the order of starts is told by; a reset is a step of RLlib's own env runner."""
    one = runner(sampler)
    sampled = []
    for _ in range(3):
        one.sample()
        sampled += reduced(one.get_metrics())[SAMPLED_EPISODES]
    assert [part.clock for part in sampled] == [
        sum(part.steps for part in sampled[:k]) for k in range(3)
    ]
    assert len({part.life for part in sampled}) == 1
    resets = sampler == "rllib"
    clock = [0] * 4
    for part in sampled:
        for env, step, episode in part.ended:
            assert part.clock + step - clock[env] == episode.length + resets
            clock[env] = part.clock + step
    assert min(clock) > 0
    one.sample(force_reset=True)
    (after,) = reduced(one.get_metrics())[SAMPLED_EPISODES]
    assert after.clock == 0
    assert after.life > sampled[0].life


@pytest.mark.parametrize("sampler", ["batched", "python"])
def test_the_same_seed_samples_the_same(runner, sampler):
    first, again, other = (runner(sampler, seed=seed).sample()[0] for seed in (3, 3, 4))
    assert np.array_equal(first.actions[0], again.actions[0])
    assert np.array_equal(first.observations[0][1], again.observations[0][1])
    assert not np.array_equal(first.actions[0], other.actions[0])


def test_evaluation_plays_as_many_episodes_as_asked_for(runner):
    one = runner()
    one.sample()
    one.get_metrics()
    episodes = one.sample(num_episodes=6)
    assert len(episodes) == 6
    assert all(isinstance(episode, FinishedEpisode) for episode in episodes)
    metrics = reduced(one.get_metrics())
    assert metrics["num_episodes"] == 6
    assert metrics["num_env_steps_sampled"] == sum(e.env_steps() for e in episodes)
    (sampled,) = metrics[SAMPLED_EPISODES]
    assert [one.length for _, _, one in sampled.ended] == [e.length for e in episodes]


def test_evaluation_does_not_touch_the_episodes_of_training(runner):
    one = runner()
    (before,) = one.sample()
    one.sample(num_episodes=3)
    (after,) = one.sample()
    assert np.array_equal(before.observations[0][1][-1], after.observations[0][1][0])


def test_new_weights_act_from_the_next_sample_on(runner):
    one = runner()
    (before,) = one.sample()
    state = one.get_state()
    weights = state["rl_module"]["one"]
    weights["actor.bias"] = np.array([100.0, 0, 0, 0, 0, 0, 0], np.float32)
    one.set_state({"rl_module": {"one": weights}, WEIGHTS_SEQ_NO: 7})
    (after,) = one.sample()
    assert (before.weights_seq_no, after.weights_seq_no) == (0, 7)
    acted = after.present[..., 0]
    assert (after.actions[0][..., 0][acted] == 0).all()
    assert (before.actions[0][..., 0] != 0).any()


def test_random_actions_go_rllibs_own_way(runner):
    episodes = runner().sample(num_timesteps=8, random_actions=True)
    assert sum(episode.env_steps() for episode in episodes) == 8


def test_a_forced_reset_starts_new_episodes(runner):
    one = runner()
    one.sample(num_timesteps=4 * 5)
    (fragment,) = one.sample(num_timesteps=4 * 5, force_reset=True)
    assert fragment.present[0].all()
    assert len(fragment) == 20


def test_an_environment_that_raises_leaves_its_traceback(runner, tmp_path, monkeypatch):
    one = runner("python")
    one.sample()
    envs = one._rollouts["train"].envs

    def slip(actions):
        raise RuntimeError("the floor is wet")

    monkeypatch.setattr(envs, "step", slip)
    with pytest.raises(RuntimeError, match="wet"):
        one.sample()
    text = (tmp_path / "env_error.txt").read_text()
    assert text.startswith("the environment raised in step()")
    assert "the floor is wet" in text


class Counts(SampleCallback):
    """Remembers what it is called with, and logs some of it."""

    def __init__(self):
        self.calls = []

    def on_sample(self, *, fragment, episodes, agents, metrics_logger):
        self.calls.append((fragment, episodes, agents))
        metrics_logger.log_value("ended", len(episodes.lengths), reduce="sum")


class OfResults(RLlibCallback):
    def on_train_result(self, **kwargs):
        pass


@pytest.mark.parametrize("sampler", ["batched", "python"])
def test_a_callback_gets_the_fragment_and_its_episodes_in_arrays(runner, sampler):
    one = runner(sampler, callbacks=[OfResults, Counts])
    fragments = [one.sample()[0] for _ in range(2)]
    metrics = reduced(one.get_metrics())
    calls = one._callbacks[-1].calls
    assert [fragment for fragment, _, _ in calls] == fragments
    assert {agents for _, _, agents in calls} == {("agent_0", "agent_1", "agent_2")}
    ended = [episode for sampled in metrics[SAMPLED_EPISODES] for *_, episode in sampled.ended]
    assert metrics["ended"] == len(ended) > 0
    for name, found in (
        ("lengths", [episode.length for episode in ended]),
        ("success", [episode.success for episode in ended]),
        ("returns", [list(episode.agent_returns.values()) for episode in ended]),
    ):
        arrays = [getattr(episodes, name) for _, episodes, _ in calls]
        assert np.concatenate(arrays).tolist() == found
    for fragment, episodes, _ in calls:
        assert episodes.lengths.shape == (len(fragment.final_index),)
        assert episodes.returns.shape == (len(fragment.final_index), 3)


def test_a_callback_is_not_called_for_evaluation(runner):
    one = runner(callbacks=[Counts])
    one.sample(num_episodes=2)
    assert not one._callbacks[-1].calls


def test_an_agent_that_took_no_part_and_an_unknown_success_are_nan():
    episode = FinishedEpisode(None, {"b": 1.5}, {"b": 3}, 3, None)
    arrays = EpisodeArrays.of(["a", "b"], [episode])
    assert np.array_equal(arrays.returns, [[np.nan, 1.5]], equal_nan=True)
    assert np.isnan(arrays.success).tolist() == [True]
    assert EpisodeArrays.of(["a", "b"], []).returns.shape == (0, 2)


def test_a_callback_that_raises_leaves_its_traceback(runner, tmp_path):
    class Slips(SampleCallback):
        def on_sample(self, **kwargs):
            raise RuntimeError("the floor is wet")

    with pytest.raises(RuntimeError, match="wet"):
        runner(callbacks=[Slips]).sample()
    text = (tmp_path / "env_error.txt").read_text()
    assert text.startswith("the callback Slips raised in on_sample():\nTraceback")
    assert "the floor is wet" in text


def test_a_remote_env_runner_uses_one_torch_thread(runner):
    one = runner()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        type(one)(config=one.config, worker_index=1).stop()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)


def test_exploration_can_be_switched_between_samples(runner):
    one = runner()
    one.sample(explore=True)
    (fragment,) = one.sample(explore=False)
    assert (
        fragment.actions[0][..., 0] == fragment.action_dist_inputs[0][..., 0, :].argmax(-1)
    ).all()
    (fragment,) = one.sample(explore=True)
    assert len(np.unique(fragment.actions[0])) == 7


def test_an_env_runner_without_an_env_can_be_stopped(runner):
    # What stays in the algorithm's process when there are others.
    busy = runner()
    config = busy.config.copy(copy_frozen=False).env_runners(num_env_runners=1)
    idle = FragmentEnvRunner(config=config, worker_index=0, spaces=busy.get_spaces())
    assert idle.env is None
    idle.stop()


def test_a_fragment_is_as_long_as_rllib_says(runner):
    (fragment,) = runner().sample()
    assert isinstance(fragment, Fragment)
    assert fragment.rewards.shape == (STEPS, 4, 3)


@pytest.mark.parametrize(("env_id", "warns"), [("odd_envs:Black", True), ("CartPole-v1", False)])
def test_constant_observations_are_warned_of_in_the_first_steps(tmp_path, env_id, warns):
    config = validate_config(
        {
            "name": "run",
            "env": {"id": env_id},
            "algorithm": {"name": "PPO"},
            "resources": {"num_envs_per_env_runner": 2},
        }
    )
    built = build_algorithm_config(set_up_trial(config), env_error_file=tmp_path / "env_error.txt")
    one = FragmentEnvRunner(config=built, worker_index=0)
    for told in ([], ["the observations of a, b were"], ["the observations of a, b were"]):
        one.sample(num_timesteps=80)  # 40 in each env
        found = [text[:29] for text in read_warnings(tmp_path)]
        assert found == (told if warns else [])
    one.stop()


@pytest.mark.parametrize("sampler", ["python", "rllib"])
@pytest.mark.parametrize(("env_id", "length"), [("odd_envs:Endless", 30), ("odd_envs:Room", 5)])
def test_the_evaluation_in_training_cuts_endless_episodes(
    tmp_path, monkeypatch, sampler, env_id, length
):
    monkeypatch.setattr(builder, "cut_limit", lambda env: 30)
    config = validate_config(
        {
            "name": "run",
            "env": {"id": env_id},
            "algorithm": {"name": "PPO"},
            "evaluation": {"interval": 1},
            "resources": {"sampler": sampler, "num_envs_per_env_runner": 2},
        }
    )
    built = build_algorithm_config(set_up_trial(config), env_error_file=tmp_path / "env_error.txt")
    multi_agent_env._warn_of_cut_episodes.cache_clear()
    evaluation = built.get_evaluation_config_object()
    one = (built.env_runner_cls or MultiAgentEnvRunner)(config=evaluation, worker_index=0)
    episodes = one.sample(num_episodes=3)
    assert [episode.env_steps() for episode in episodes] == [length] * 3
    told = [text for text in read_warnings(tmp_path) if "was cut after 30 env steps" in text]
    assert len(told) == (length == 30)
    one.stop()
