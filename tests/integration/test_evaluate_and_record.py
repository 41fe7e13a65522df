"""A run trained by the real command, evaluated and filmed by the real commands.

Each command runs once in a process of its own (`shell`), and for the rest in this one (`type`).
"""

from __future__ import annotations

import json
import shutil
import time

import numpy as np
import pytest
import torch
from bars import record_bar
from commands import CONFIGS
from PIL import Image
from ray.rllib.core.columns import Columns
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.utils.spaces.space_utils import batch
from ray.rllib.utils.torch_utils import convert_to_torch_tensor

from empo_rllib.algorithms.builder import build_algorithm_config
from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.experiment.run_folder import locate
from empo_rllib.results.load import load_policies

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts

JSON = ("--sampled", "--episodes", 10, "--json")


@pytest.fixture(scope="module")
def run_folder(smoke, smoke_place):
    return smoke_place.run("smoke").folder


@pytest.fixture(scope="module")
def evaluation(run_folder, place):
    """The outcome of `evaluate` with JSON as its output."""
    return place.type("evaluate", run_folder, *JSON)


@pytest.fixture(scope="module")
def rllib_episodes(run_folder):
    """Episodes that RLlib's env runner plays with RLlib's own checkpoint, greedy and drawn."""
    trained = locate(run_folder)
    config = build_algorithm_config(set_up_trial(trained.config))
    runner = MultiAgentEnvRunner(config=config.env_runners(num_envs_per_env_runner=1))
    module = "algorithm/learner_group/learner/rl_module"
    runner.module.restore_from_path(str(trained.checkpoint / module))
    episodes = {
        greedy: runner.sample(num_episodes=2, explore=not greedy) for greedy in (True, False)
    }
    runner.stop()
    return episodes


def agent_steps(episodes):
    """Yields agent, observation, action and what the action was chosen from, step by step."""
    for episode in episodes:
        for agent, steps in episode.agent_episodes.items():
            for t in range(len(steps)):
                chosen_from = steps.get_extra_model_outputs(Columns.ACTION_DIST_INPUTS, t)
                yield agent, steps.get_observations(t), steps.get_actions(t), chosen_from


@pytest.mark.parametrize("greedy", [True, False])
def test_a_restored_policy_has_the_action_probabilities_of_rllibs_own(
    run_folder, rllib_episodes, greedy
):
    policies = load_policies(locate(run_folder))

    num_steps = 0
    for agent, observation, _, theirs in agent_steps(rllib_episodes[greedy]):
        module = policies.by_name[policies.of_agent[agent]].module
        inputs = {Columns.OBS: convert_to_torch_tensor(batch([observation]))}
        with torch.no_grad():
            ours = module.forward_inference(inputs)[Columns.ACTION_DIST_INPUTS]
        np.testing.assert_array_equal(ours[0].numpy(), theirs)
        num_steps += 1
    assert num_steps >= 20


def test_a_restored_policy_acts_greedily_as_rllibs_own(run_folder, rllib_episodes):
    policies = load_policies(locate(run_folder))

    for agent, observation, action, _ in agent_steps(rllib_episodes[True]):
        assert policies.act([{agent: observation}], greedy=True) == [{agent: action}]


def test_evaluate_command_prints_a_table(run_folder, place):
    table = place.type("evaluate", run_folder, "--episodes", 3)
    assert (table.code, table.stderr) == (0, "Playing 3 episodes with 1 trial\n")
    assert "MultiGrid-Empty-5x5-v0: 3 episodes, sampled actions, seed 0" in table.stdout


def test_evaluate_command_prints_json(run_folder, evaluation):
    assert evaluation.code == 0
    assert len(evaluation.stderr.splitlines()) == 1  # stdout is JSON and nothing else
    written = json.loads(evaluation.stdout)
    assert written["protocol"]["checkpoint"] == str(locate(run_folder).checkpoint)
    assert written["protocol"]["greedy"] is False
    assert 0.0 <= written["success_rate"] <= 1.0


def test_evaluation_repeats_in_another_process_without_the_pickles(
    run_folder, evaluation, place, tmp_path
):
    copy = shutil.copytree(run_folder, tmp_path / "copy")
    pickled = list(copy.glob("*/*/algorithm"))
    assert pickled
    for algorithm in pickled:
        shutil.rmtree(algorithm)
    again = place.shell("evaluate", copy, *JSON)
    again.check()
    assert json.loads(again.stdout)["episodes"] == json.loads(evaluation.stdout)["episodes"]


def test_record_command_films_a_trial_and_a_checkpoint(run_folder, place, tmp_path):
    trial = run_folder / "trial_00000"
    for number, (type_, run, name) in enumerate(
        [
            (place.type, trial, "film.gif"),
            (place.shell, locate(trial).checkpoint, "f.mp4"),
        ]
    ):
        out = tmp_path / name
        done = type_("record", run, "--out", out, "--episodes", 1)
        assert done.code == 0
        assert done.stderr.startswith("Recording 1 episode\n")  # more where it takes long
        assert done.stdout.startswith(f"{out}: 1 episode, ")
        assert len(list(tmp_path.iterdir())) == number + 1
    assert Image.open(tmp_path / "film.gif").n_frames > 1
    assert (tmp_path / "f.mp4").read_bytes()[4:8] == b"ftyp"


def test_a_corrupt_checkpoint_ends_the_commands_with_one_message(run_folder, place, tmp_path):
    copy = shutil.copytree(run_folder, tmp_path / "copy")
    for weights in copy.glob("*/*/policies/agent_0.safetensors"):
        weights.write_bytes(weights.read_bytes()[:-64])

    for type_, *arguments in (
        (place.shell, "evaluate", copy),
        (place.type, "record", copy, "--out", tmp_path / "film.gif"),
    ):
        done = type_(*arguments)
        assert (done.code, done.stdout) == (2, "")
        *_, error = done.stderr.splitlines()
        assert error.startswith("error: ")
        assert "agent_0.safetensors: damaged" in error
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


@pytest.fixture(scope="module")
def seeds(place, cluster):
    """Trials of two seeds of the smoke experiment, very short."""
    settings = ("name=seeds", "seed={grid_search: [1, 2]}", "stop.env_steps=200")
    sets = [part for setting in settings for part in ("--set", setting)]
    cluster.tune(place, "--config", CONFIGS / "smoke.yaml", *sets).check()
    return [trial.folder for trial in place.run("seeds").trials]


def test_seeds_are_evaluated_together(seeds, place, tmp_path):
    out = tmp_path / "seeds.json"

    done = place.type("evaluate", *seeds, "--sampled", "--episodes", 5, "--out", out)

    assert (done.code, done.stderr) == (0, "Playing 5 episodes with 2 trials\n")
    assert "2 seeds" in done.stdout
    written = json.loads(out.read_text())
    assert [run["source"]["training_seed"] for run in written["runs"]] == [1, 2]
    assert written["groups"][0]["runs"] == ["seeds/trial_00000", "seeds/trial_00001"]
    for run in written["runs"]:  # statistics can be computed again
        returns = [episode["episode_return"] for episode in run["episodes"]]
        assert run["episode_return"]["mean"] == pytest.approx(np.mean(returns))


def test_a_run_is_evaluated_with_all_its_seeds(seeds, place):
    done = place.type("evaluate", seeds[0].parent, "--sampled", "--episodes", 5)

    assert (done.code, done.stderr) == (0, "Playing 5 episodes with 2 trials\n")
    for name in ("trial_00000", "trial_00001", ", best", "2 seeds"):
        assert name in done.stdout


def test_seeds_play_with_each_other(seeds, place, tmp_path):
    out, figure = tmp_path / "cross.json", tmp_path / "cross.png"
    options = ("--sampled", "--episodes", 5, "--out", out, "--figure", figure)

    done = place.shell("crossplay", *seeds, *options)

    done.check()
    assert done.stderr.startswith("Loading the policies of 2 trials\n")
    assert max(map(len, done.stdout.splitlines())) <= 80
    written = json.loads(out.read_text())
    assert [player["name"] for player in written["players"]] == [
        "seeds/trial_00000",
        "seeds/trial_00001",
    ]
    assert np.array(written["returns"]).shape == (2, 2)
    assert Image.open(figure).format == "PNG"


def test_bar_evaluate_1000_greedy_episodes_of_empty_8x8(run_folder, place):
    """A policy of few iterations is stuck: no episode could be longer."""
    settings = ("--set", "env.id=MultiGrid-Empty-8x8-v0", "--set", "env.kwargs={}")
    seconds = {}
    for episodes in (1, 1, 1000):  # the first compiles what is not yet cached
        started = time.perf_counter()
        done = place.shell(
            *("evaluate", run_folder, *settings),
            *("--greedy", "--episodes", episodes, "--json"),
        )
        seconds[episodes] = time.perf_counter() - started
        done.check()
    written = json.loads(done.stdout)
    assert len(written["episodes"]) == 1000
    assert written["protocol"]["played_in"] == "batched"
    taken = seconds[1000] - seconds[1]
    told = (
        f"{taken:.1f} s for episodes of {written['episode_length']['mean']:.0f} env steps, after a "
        f"start-up of {seconds[1]:.1f} s"
    )
    name = "evaluate 1,000 greedy episodes of Empty-8x8"
    record_bar("make test-all", name, "under 10 s after start-up", told, taken < 10)
