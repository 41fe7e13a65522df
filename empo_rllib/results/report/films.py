"""Small films of watched episodes, as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from empo_rllib.errors import EnvError
from empo_rllib.results.record import (
    HOLD_LAST_S,
    Camera,
    build_filmed_env,
    default_fps,
    describe,
)
from empo_rllib.results.settings import resolve_greedy

if TYPE_CHECKING:
    from PIL import Image

    from empo_rllib.acting.play import LiveEpisode
    from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
    from empo_rllib.results.report.play import Trace, Watched

# Of all films of a report together; a film shows at least so many.
MAX_FRAMES = 360
_MIN_FRAMES = 12
MAX_FILM_BYTES = 450_000
_MAX_WIDTH = 512
_NUM_COLOURS = 64


class Filmer:
    """Plays episodes of a watched trial again, and films them.

    Args:
        watched: the trial.
        max_frames: of one film; a longer episode is shown in larger steps.

    Raises:
        EnvError: the environment draws no pictures.
    """

    def __init__(self, watched: Watched, max_frames: int) -> None:
        self._watched = watched
        self._max_frames = max(_MIN_FRAMES, max_frames)
        self._env = build_filmed_env(watched.trained.config.env)
        greedy = resolve_greedy(None, [watched.trained.config])
        self._camera = Camera(self._env, describe(watched.trained, greedy))

    def close(self) -> None:
        """Closes the environment."""
        self._env.close()

    def film(self, index: int, title: str) -> tuple[str, str, int]:
        """Films one episode.

        Args:
            index: which of the watched episodes.
            title: what the caption calls it.

        Returns:
            The last picture and the film as data URIs, and how many env steps lie between two
            pictures.

        Raises:
            EnvError: the environment draws no pictures, or does not repeat the episode.
        """
        episode, trace = self._watched.episodes[index], self._watched.traces[index]
        every = -(-max(1, episode.length) // self._max_frames)
        frames = _replay(self._env, self._camera, episode, trace, title, every)
        fps = default_fps(self._env)
        while True:
            still, film = _encode(frames, fps)
            if len(film) <= MAX_FILM_BYTES or len(frames) <= _MIN_FRAMES:
                return _uri("png", still), _uri("gif", film), every
            frames, every = [*frames[:-1:2], frames[-1]], 2 * every


def _replay(
    env: ParallelMultiAgentEnv,
    camera: Camera,
    episode: LiveEpisode,
    trace: Trace,
    title: str,
    every: int,
) -> list[Image.Image]:
    from empo_rllib.acting.play import LiveEpisode

    again, frames = LiveEpisode(env, episode.seed, episode.limit), []
    for step, actions in enumerate(trace.actions):
        if again.over or set(again.observations) != set(actions):
            break
        if step % every == 0:
            frames.append(camera.draw(title, again))
        again.step(actions)
    if not again.over or again.returns != episode.returns:
        raise EnvError("the environment does not repeat an episode from its seed and actions")
    return [*frames, camera.draw(title, again)]


def _encode(frames: Sequence[Image.Image], fps: float) -> tuple[bytes, bytes]:
    """Returns the last frame as PNG and all as GIF, in a few colours that all frames share."""
    from PIL import Image

    width = min(_MAX_WIDTH, frames[0].width)
    size = (width, round(frames[0].height * width / frames[0].width))
    if frames[0].size != size:
        frames = [frame.resize(size, Image.Resampling.LANCZOS) for frame in frames]
    shown = [frames[round(i * (len(frames) - 1) / 3)] for i in range(4)]
    strip = Image.new("RGB", (4 * size[0], size[1]))
    for index, frame in enumerate(shown):
        strip.paste(frame, (index * size[0], 0))
    palette = strip.quantize(_NUM_COLOURS)
    images = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = [round(1000 / fps)] * (len(images) - 1) + [round(1000 * HOLD_LAST_S)]
    film, still = io.BytesIO(), io.BytesIO()
    images[0].save(film, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    images[-1].save(still, "PNG", optimize=True)
    return still.getvalue(), film.getvalue()


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
