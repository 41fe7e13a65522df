"""An environment's own error is one message that says so; what it draws is shown if it can be."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from empo_rllib.envs.blame import blaming_env
from empo_rllib.envs.registry import make_env
from empo_rllib.envs.step_limit import step_limit
from empo_rllib.errors import EnvError
from empo_rllib.results.picture import as_picture

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts

STEP = "in step 3 of the episode with seed 4"


@pytest.mark.parametrize(
    ("name", "raised"),
    [
        ("BrokenReset", "raised in reset() of the episode with seed 4"),
        ("BrokenStep", f"raised in step() {STEP}"),
    ],
)
def test_a_command_ends_with_one_message_about_the_environments_error(
    write_run, command, tmp_path, name, raised
):
    run = write_run(tmp_path / "run", env={"id": f"odd_envs:{name}"})
    film = tmp_path / "film.gif"
    for arguments in (
        ("evaluate", run),
        ("crossplay", run, run),
        ("record", run, "--out", film),
        ("report", run, "--out", tmp_path / "report.html"),
        ("export", run, "--out", tmp_path / "bundle"),
    ):
        code, _, err = command(*arguments, "--seed", "4")
        assert code == 2, arguments
        assert f"error: room: the environment itself {raised}, at " in err
        assert "odd_envs.py:" in err
        assert "Traceback" not in err
    assert not film.exists()


def test_a_missing_screen_or_package_is_named_with_a_cure():
    reset, render = make_env("odd_envs:BrokenReset"), make_env("odd_envs:BrokenRender")
    with pytest.raises(EnvError, match="type xvfb-run -a before"), blaming_env(reset, "reset()"):
        reset.reset()
    install = "Install the package that has 'package_that_nobody_has'"
    with pytest.raises(EnvError, match=install), blaming_env(render, "render()"):
        render.render()


def test_an_error_that_is_not_the_environments_passes():
    with pytest.raises(AttributeError, match="unwrapped"), blaming_env(None, "step()"):
        step_limit(None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("BrokenRender", "room: the environment itself raised in render(), at "),
        ("NoPicture", "its render() returned None, which is no picture"),
    ],
)
def test_what_cannot_be_drawn_is_one_message(write_run, command, tmp_path, name, message):
    run = write_run(tmp_path / "run", env={"id": f"odd_envs:{name}"})
    code, _, err = command("record", run, "--out", tmp_path / "film.gif")
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_fractions_are_no_black_film(write_run, command, tmp_path):
    run = write_run(tmp_path / "run", env={"id": "odd_envs:Fractions"})
    film = tmp_path / "film.gif"
    assert command("record", run, "--out", film, "--episodes", "1")[0] == 0
    assert np.asarray(Image.open(film).convert("RGB"))[20, 30].tolist() == [127, 127, 127]


GREY = np.full((2, 3), 100, np.uint8)
RGB = np.stack([GREY] * 3, axis=2)


@pytest.mark.parametrize(
    "rendered",
    [
        RGB,
        GREY,
        GREY[..., None],
        np.dstack([RGB, GREY]),
        RGB.astype(np.int64),
        RGB.astype(np.float32),
        RGB.tolist(),
        [np.zeros_like(RGB), RGB],
        Image.fromarray(RGB),
    ],
)
def test_every_form_of_a_picture_is_shown(rendered):
    picture = as_picture(rendered)
    assert picture.dtype == np.uint8
    assert np.array_equal(picture, RGB)


def test_fractions_booleans_and_numbers_out_of_range_are_scaled_or_clipped():
    ones = np.ones((2, 3, 3))
    assert (as_picture(ones) == 255).all()
    assert (as_picture(ones > 0) == 255).all()
    assert (as_picture(ones * 300) == 255).all()
    assert (as_picture(np.where(ones > 0, np.nan, 0)) == 0).all()


@pytest.mark.parametrize(
    "rendered",
    [None, "text", 3, [], [None], np.zeros((2, 3, 5)), np.zeros((0, 3, 3)), [[1], [1, 2]]],
)
def test_what_is_no_picture_is_none(rendered):
    assert as_picture(rendered) is None
