"""The examples are what they say: fit for training, documented, and small enough to copy."""

from __future__ import annotations

import inspect
import re
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from multigrid.core.world_object import Wall
from pettingzoo.test import parallel_api_test

from empo_rllib.config.load import load_config
from empo_rllib.doctor.examine import examine
from empo_rllib.doctor.limits import Limits
from empo_rllib.envs.batched.support import batched_problem
from empo_rllib.envs.registry import make_env
from examples.competitive import Tag
from examples.custom_multigrid import TwoRooms
from examples.custom_rl_module import CellEmbeddings
from examples.masked import Couriers
from examples.memory import TMaze
from examples.own_metric import ForwardShare

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "examples").glob("*.yaml"))
SOURCES = sorted(path for path in (ROOT / "examples").glob("*.py") if path.stem != "__init__")
# Steps decide, not the time that they take.
QUICK = Limits(episodes=6, env_steps=300, play_s=60, repeat_steps=40, repeat_s=60)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_doctor_finds_no_errors(path):
    report = examine(load_config(path), QUICK)
    assert report.exit_code == 0
    assert not [finding for finding in report.findings if finding.level == "warning"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_an_example_has_an_experiment_of_the_same_name(path):
    assert path.with_suffix(".yaml") in FILES


def test_the_readme_lists_every_example():
    listed = re.findall(r"^\| \[(\w+)\]", (ROOT / "examples/README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == [path.stem for path in FILES]


@pytest.mark.parametrize("env_class", [TwoRooms, Tag, Couriers, TMaze])
def test_an_environment_is_documented_as_faramas_are(env_class):
    sections = re.findall(r"^(\w+):$", inspect.getdoc(env_class), re.MULTILINE)
    wanted = ["Description", "Actions", "Observations", "Rewards", "Termination", "Ids", "Args"]
    assert sections == wanted


def test_two_rooms_are_stepped_in_compiled_kernels():
    assert batched_problem(make_env("examples.custom_multigrid:TwoRooms", num_agents=2)) is None


def test_which_arm_counts_is_seen_at_the_start_only():
    env = make_env("examples.memory:TMaze", num_agents=1)
    first, later, told = {}, set(), set()
    for seed in range(8):
        seen, _ = env.reset(seed=seed)
        left = env.env.unwrapped.goes_left
        first.setdefault(left, set()).add(seen["agent_0"]["image"].tobytes())
        for action in [2] * 3 + [0] + [2] * 2:  # up the stem, and along the left arm
            seen, *_ = env.step({"agent_0": action})
            later.add((seen["agent_0"]["image"].tobytes(), action, seen["agent_0"]["direction"]))
        _, rewards, ended, _, infos = env.step({"agent_0": 2})
        told.add((left, rewards["agent_0"] > 0, infos["agent_0"]["success"]))
        assert ended["agent_0"]
    assert len(first) == 2
    assert not first[True] & first[False]
    assert len(later) == 6  # the same whatever it was
    assert told == {(True, True, True), (False, False, False)}


def test_the_wall_between_the_rooms_has_one_gap_which_moves():
    env = make_env("examples.custom_multigrid:TwoRooms", num_agents=2)
    gaps = set()
    for seed in range(20):
        env.reset(seed=seed)
        grid = env.env.unwrapped.grid
        column = [grid.get(grid.width // 2, row) for row in range(grid.height)]
        (gap,) = [row for row, cell in enumerate(column) if not isinstance(cell, Wall)]
        gaps.add(gap)
        assert all(agent.pos[0] < grid.width // 2 for agent in env.env.unwrapped.agents)
    assert gaps == set(range(1, grid.height - 1))


def test_tag_passes_pettingzoos_own_test():
    parallel_api_test(Tag(), num_cycles=100)


def test_couriers_pass_pettingzoos_own_test():
    parallel_api_test(Couriers(), num_cycles=100)


def test_what_the_tagger_wins_the_runner_loses():
    env = Tag()
    env.reset(seed=0)
    while env.agents:
        actions = {agent: int(env.action_space(agent).sample()) for agent in env.agents}
        _, rewards, *_ = env.step(actions)
        assert rewards["tagger"] == -rewards["runner"]


@pytest.mark.parametrize(
    ("places", "actions"),
    [
        ([(2, 2), (4, 2)], {"tagger": 1, "runner": 3}),  # into the same cell
        ([(2, 2), (3, 2)], {"tagger": 1, "runner": 3}),  # through each other
        ([(5, 2), (6, 2)], {"tagger": 1, "runner": 1}),  # at the wall
    ],
)
def test_a_catch_ends_the_game(places, actions):
    env = Tag(stumbling=0.0)
    env.reset(seed=0)
    env._places = np.array(places)
    _, rewards, terminations, truncations, infos = env.step(actions)
    assert rewards == {"tagger": 1.0, "runner": -1.0}
    assert all(terminations.values())
    assert not any(truncations.values())
    assert infos["runner"] == {"success": True}
    assert env.agents == []


def test_a_runner_that_gets_away_is_paid_until_the_game_is_cut_off():
    env = Tag(stumbling=0.0, max_steps=4)
    env.reset(seed=0)
    env._places = np.array([(0, 0), (6, 6)])
    returned = 0.0
    while env.agents:
        _, rewards, terminations, truncations, infos = env.step({"tagger": 0, "runner": 0})
        returned += rewards["runner"]
    assert returned == pytest.approx(1.0)
    assert all(truncations.values())
    assert not any(terminations.values())
    assert infos["tagger"] == {"success": False}


def test_the_callback_logs_what_agents_that_were_there_did():
    logged = {}
    fragment = types.SimpleNamespace(
        actions=(np.array([[[2, 2], [0, 2]]]),),
        present=np.array([[[True, False], [True, True]]]),
    )
    for lengths in ([], [7, 9]):
        ForwardShare().on_sample(
            fragment=fragment,
            episodes=types.SimpleNamespace(lengths=np.array(lengths)),
            metrics_logger=types.SimpleNamespace(
                log_value=lambda name, value, reduce: logged.setdefault(name, []).append(value)
            ),
        )
    assert logged == {"forward_share": [2 / 3, 2 / 3], "longest_episode": [9]}


def test_the_guide_shows_the_callback_as_it_is():
    guide = (ROOT / "docs/howto/metrics.md").read_text()
    assert f"```py\n{inspect.getsource(ForwardShare)}```" in guide


def test_the_network_has_a_logit_for_each_action_and_learns_its_embeddings():
    view, kinds = spaces.Box(0, 10, (7, 7, 3), np.uint8), np.array([11, 6, 4])
    module = CellEmbeddings(
        observation_space=spaces.Dict({"direction": spaces.Discrete(4), "image": view}),
        action_space=spaces.Discrete(7),
        model_config={"embedding_size": 4, "channels": 5, "hidden_sizes": [8]},
    )
    image = torch.from_numpy(np.random.default_rng(0).integers(0, kinds, (3, 7, 7, 3)))
    batch = {"obs": {"direction": torch.tensor([0, 1, 3]), "image": image.to(torch.uint8)}}
    outputs = module._forward_train(batch)
    assert outputs["action_dist_inputs"].shape == (3, 7)
    values = module.compute_values(batch, embeddings=outputs["embeddings"])
    assert torch.equal(values, module.compute_values(batch))
    assert values.shape == (3,)
    values.sum().backward()
    assert all(table.weight.grad.abs().sum() > 0 for table in module.embeddings)
