"""Agents of MultiGrid that share a cell are all in the picture."""

from __future__ import annotations

import numpy as np
import pytest

from empo_rllib import make_env
from empo_rllib.results.grid_picture import all_agents_shown

TILE = 32
RED, GREEN = (255, 0, 0), (0, 255, 0)
COLOURS = [RED, GREEN, (0, 0, 255), (112, 39, 195), (255, 255, 0), (100, 100, 100)]


@pytest.fixture
def make():
    envs = []

    def make(num_agents):
        env = make_env("MultiGrid-Empty-5x5-v0", num_agents=num_agents, render_mode="rgb_array")
        env.reset(seed=0)
        envs.append(env)
        return env

    yield make
    for env in envs:
        env.close()


def cell_of(env, column, row):
    with all_agents_shown(env):
        picture = env.render()
    return picture[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]


def pixels(cell, colour):
    return int((cell == colour).all(axis=-1).sum())


@pytest.mark.parametrize("num_agents", [1, 2, 3, 6])
def test_all_agents_of_a_cell_are_drawn(make, num_agents):
    cell = cell_of(make(num_agents), 1, 1)

    for colour in COLOURS[:num_agents]:
        assert pixels(cell, colour) >= 8
    for colour in COLOURS[num_agents:]:
        assert pixels(cell, colour) == 0 or colour == (100, 100, 100)  # the lines of the grid


def test_two_agents_stand_beside_each_other(make):
    cell = cell_of(make(2), 1, 1)

    assert pixels(cell[:, : TILE // 2], RED) > 30
    assert pixels(cell[:, TILE // 2 :], GREEN) > 30
    assert pixels(cell[:, TILE // 2 :], RED) == pixels(cell[:, : TILE // 2], GREEN) == 0


@pytest.mark.parametrize("direction", range(4))
def test_an_agent_points_where_it_looks(make, direction):
    env = make(1)
    env.env.unwrapped.agents[0].state.dir = direction

    cell = cell_of(env, 1, 1)

    right = np.rot90(cell, direction)  # turned back to the right
    back, front = right[:, : TILE // 2], right[:, TILE // 2 :]
    assert pixels(back, RED) > 2 * pixels(front, RED) > 0


def test_agents_that_have_arrived_stay_in_the_picture_and_stand_out_from_the_goal(make):
    env = make(2)
    for agent in env.env.unwrapped.agents:
        agent.state.pos = (3, 3)
        agent.state.terminated = True

    cell = cell_of(env, 3, 3)

    assert pixels(cell, RED) > 30
    outline = (cell[:, TILE // 2 :] < 130).all(axis=-1)  # of the green one
    assert outline.sum() > 10


def test_upstream_draws_the_rest_and_keeps_its_renderer(make):
    env = make(2)
    before = env.render()

    with all_agents_shown(env):
        shown = env.render()

    shared = np.zeros(shown.shape[:2], bool)
    shared[TILE : 2 * TILE, TILE : 2 * TILE] = True
    assert (shown[~shared] == before[~shared]).all()
    assert (shown[shared] != before[shared]).any()
    assert (env.render() == before).all()


def test_other_environments_draw_what_they_always_draw():
    env = make_env("CartPole-v1", render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    with all_agents_shown(env):
        assert (env.render() == before).all()
    env.close()
