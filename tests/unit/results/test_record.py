from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from empo_rllib.errors import ConfigError, EnvError
from empo_rllib.results import record as recording
from empo_rllib.results.captions import AgentLine, Caption, Layout
from empo_rllib.results.film import Frame, check_film, write_film
from empo_rllib.results.find import find_trained
from empo_rllib.results.record import action_text, describe, record

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts

GREY = np.full((100, 120, 3), 90, np.uint8)


def frames_of(path):
    image = Image.open(path)
    for index in range(image.n_frames):
        image.seek(index)
        yield np.asarray(image.convert("RGB")), image.info["duration"]


@pytest.fixture
def captions(monkeypatch):
    """The captions that a recording writes."""
    seen = []
    draw = Layout.draw

    def remember(self, picture, caption):
        seen.append(caption)
        return draw(self, picture, caption)

    monkeypatch.setattr(Layout, "draw", remember)
    return seen


def test_gif_shows_every_step_of_every_episode_and_holds_the_last(run_folder, tmp_path, captions):
    out = tmp_path / "film.gif"

    told = []
    num_frames = record(run_folder, out, episodes=2, fps=10, tell=told.append)
    assert told == ["Recording episode 1 of 2", "Recording episode 2 of 2"]

    assert captions[0].title == "Episode 1 of 2 (seed 0)"
    assert captions[-1].title == "Episode 2 of 2 (seed 1)"
    steps = [caption.progress for caption in captions]
    assert steps[0] == "Step 0 of at most 20, return so far 0.00 (sum over agents)"
    assert sum(step.startswith("Step 0 ") for step in steps) == 2
    lasts = [i for i, caption in enumerate(captions) if caption.outcome]
    assert len(lasts) == 2
    assert lasts[-1] == num_frames - 1
    durations = [duration for _, duration in frames_of(out)]
    # Equal pictures in a row are joined, so that there may be fewer of them.
    assert sum(durations) == 100 * (num_frames - 2) + 2 * 1500
    assert list(tmp_path.iterdir()) == [out]


def test_captions_name_actions_and_returns_so_far(run_folder, tmp_path, captions):
    record(run_folder, tmp_path / "film.gif", episodes=1)

    first, last = captions[0], captions[-1]
    names = {"left", "right", "forward", "pickup", "drop", "toggle", "done"}
    assert [line.name for line in first.agents] == ["agent_0", "agent_1"]
    assert {line.action for line in first.agents} == {"-"}
    assert {line.action for caption in captions[1:] for line in caption.agents} <= names
    assert [line.colour for line in first.agents] == [(255, 0, 0), (0, 255, 0)]
    total = sum(line.episode_return for line in last.agents)
    assert f"return so far {total:.2f} (sum over agents)" in last.progress
    assert last.outcome == ("ended in success" if total else "ended in failure")
    assert {caption.outcome for caption in captions[:-1]} == {""}


def test_a_caption_tells_environment_algorithm_run_trial_and_checkpoint(run_folder):
    trained = find_trained(run_folder)

    assert describe(trained, greedy=False) == [
        "MultiGrid-Empty-5x5-v0, PPO with sampled actions",
        "Run small, trial_00000, checkpoint_000001",
    ]
    assert "with most likely actions" in describe(trained, greedy=True)[0]


def test_one_agent_has_no_sum_and_an_environment_may_not_tell_of_success(
    write_run, tmp_path, captions
):
    run = write_run(tmp_path / "run", env={"id": "CartPole-v1"})

    record(run, tmp_path / "film.gif", episodes=1)

    assert captions[0].progress == "Step 0 of at most 500, return so far 0.00"
    assert captions[-1].outcome == "ended"  # CartPole does not tell of success


def test_the_same_arguments_give_the_same_film(run_folder, tmp_path):
    for name in ("a.gif", "b.gif"):
        record(run_folder, tmp_path / name, episodes=1, seed=3)

    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_mp4_has_a_frame_per_step(run_folder, tmp_path):
    from imageio_ffmpeg import count_frames_and_secs

    out = tmp_path / "film.mp4"
    num_frames = record(run_folder, out, episodes=1, greedy=True, fps=10)

    assert count_frames_and_secs(str(out))[0] == num_frames - 1 + 15
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_a_failure_leaves_no_file_and_an_old_film_as_it_was(tmp_path, suffix):
    out = tmp_path / f"film{suffix}"
    out.write_bytes(b"old")

    def frames():
        yield Frame(Image.new("RGB", (64, 64)))
        raise EnvError("broken")

    with pytest.raises(EnvError, match="broken"):
        write_film(frames(), out, 5.0)

    assert list(tmp_path.iterdir()) == [out]
    assert out.read_bytes() == b"old"


def test_a_full_disk_is_a_readable_error(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(ConfigError, match=r"--out .*: cannot be written: .*No space left"):
        write_film([Frame(Image.new("RGB", (64, 64)))], tmp_path / "film.gif", 5.0)


@pytest.mark.parametrize(
    ("out", "fps", "message"),
    [
        ("film.avi", None, r"must end in \.gif or \.mp4"),
        ("film", None, r"must end in \.gif or \.mp4"),
        ("nowhere/film.gif", None, "there is no folder"),
        ("folder.gif", None, "is a folder"),
        ("film.gif", 0, "--fps 0 must be greater than 0"),
        ("film.gif", 51, "at most 50"),
        ("film.gif", float("nan"), "--fps nan"),
    ],
)
def test_impossible_films_are_refused(tmp_path, out, fps, message):
    (tmp_path / "folder.gif").mkdir()

    with pytest.raises(ConfigError, match=message):
        check_film(tmp_path / out, fps)


def test_an_environment_without_pictures_is_refused(run_folder, tmp_path, monkeypatch):
    from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv

    monkeypatch.setattr(ParallelMultiAgentEnv, "render", lambda self: "text")

    with pytest.raises(EnvError, match="MultiGrid-Empty-5x5-v0 cannot be filmed"):
        record(run_folder, tmp_path / "film.gif")
    assert not list(tmp_path.iterdir())


def test_an_environment_that_takes_no_render_mode_is_refused(run_folder, tmp_path, monkeypatch):
    from empo_rllib.results import record as module

    def without_render_mode(**kwargs):
        raise EnvError("unknown argument render_mode")

    monkeypatch.setattr(
        module, "open_checked_env", lambda env, **kwargs: without_render_mode(**kwargs)
    )

    with pytest.raises(EnvError, match="cannot be filmed with render_mode rgb_array: unknown"):
        record(run_folder, tmp_path / "film.gif")


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (np.int64(2), "2"),
        (np.array([0.123, -1.0], np.float32), "+0.12  -1.00"),
        (np.arange(6), "0  1  2  3  .."),
        ((np.int64(1), np.array([0.5])), "1  +0.50"),
        ({"move": 1, "say": 0}, "1  0"),
        (None, "-"),
    ],
)
def test_actions_without_names_are_written_as_numbers(action, text):
    assert action_text(action) == text


def test_fps_are_the_environments_own_within_what_a_gif_can_show(run_folder):
    class Env:
        env = None
        metadata = {"render_fps": 120}

    assert recording.default_fps(Env) == 50.0
    Env.metadata = {}
    assert recording.default_fps(Env) == recording.OTHER_FPS


@pytest.mark.parametrize("size", [(64, 48), (449, 333), (1601, 401)])
@pytest.mark.parametrize("num_agents", [1, 5, 40])
def test_frames_have_even_sizes_and_hold_picture_and_caption(size, num_agents):
    width, height = size
    picture = np.full((height, width, 3), 90, np.uint8)
    names = [f"agent_{i}" for i in range(num_agents)]
    lines = [AgentLine(name, "forward", -123.456, (255, 0, 0)) for name in names]
    layout = Layout(size, names, True, "forward")

    frame = np.asarray(layout.draw(picture, Caption("title", "step", lines, "success", True)))

    assert frame.shape[0] % 2 == frame.shape[1] % 2 == 0
    assert 440 <= frame.shape[1] <= 900
    assert (frame[: height // 2, frame.shape[1] // 2] == 90).all()
    swatches = (frame == (255, 0, 0)).all(axis=-1).sum()
    assert swatches == num_agents * 13 * 13


def test_agents_that_have_left_are_faint(run_folder):
    layout = Layout((120, 100), ["agent_0"], False, "forward")
    there, gone = (
        np.asarray(
            layout.draw(GREY, Caption("", "", [AgentLine("agent_0", "left", 0.0, None, present)]))
        )
        for present in (True, False)
    )

    assert there.max() > gone.max()


@pytest.fixture
def written(monkeypatch):
    """Where each text of a frame was written: text, left, top, right, bottom."""
    seen = []
    text = ImageDraw.ImageDraw.text

    def remember(self, xy, string, fill, font, anchor):
        seen.append((string, *self.textbbox(xy, string, font=font, anchor=anchor)))
        text(self, xy, string, fill, font=font, anchor=anchor)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", remember)
    return seen


@pytest.mark.parametrize(
    ("size", "num_agents"), [((160, 160), 2), ((512, 512), 8), ((480, 480), 8)]
)
def test_nothing_of_a_long_caption_is_clipped_or_written_over(written, size, num_agents):
    names = [f"agent_{i}" for i in range(num_agents)]
    lines = [AgentLine(name, "forward", -123456.789, (255, 0, 0)) for name in names]
    about = ["my_package.my_environments:make_" + 60 * "x" + ", PPO", "Run " + 20 * "long-name "]
    caption = Caption(
        "Episode 1000 of 1000 (seed 4294967295), and more than fits beside the outcome",
        "Step 1,000,000 of at most 1,000,000, return so far -123456.79 (sum over agents)",
        lines,
        "ended in failure",
        False,
    )

    layout = Layout(size, names, True, "forward", about)
    layout.draw(GREY, caption)

    boxes = [box for box in written if box[0]]
    assert (
        "".join(text for text, *_ in boxes)
        .replace(" ", "")
        .startswith("".join(about).replace(" ", ""))
    )
    for _, left, top, right, bottom in boxes:
        assert left >= 0
        assert right <= layout.width
        assert bottom <= layout.height
        assert top >= 0
    for number, (_, left, top, right, bottom) in enumerate(boxes):
        for _, other_left, other_top, other_right, other_bottom in boxes[:number]:
            apart = right <= other_left or other_right <= left
            assert apart or bottom <= other_top or other_bottom <= top
