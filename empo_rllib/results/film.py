"""Writing frames to a .gif or .mp4 file, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from empo_rllib.errors import ConfigError
from empo_rllib.files import put_in_place
from empo_rllib.results.output import check_output, refusing_unwritable

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".gif", ".mp4")
# A GIF's durations are whole hundredths of a second, and viewers slow down anything below two.
MAX_FPS = 50.0


@dataclass(frozen=True)
class Frame:
    """A picture and for how many frame times it is shown."""

    image: Image.Image
    repeat: int = 1


def check_film(out: Path, fps: float | None) -> None:
    """Refuses a file that could not be written, without writing anything.

    Raises:
        ConfigError: the suffix or the folder is wrong, or `fps` is out of range.
    """
    check_output("--out", out, SUFFIXES)
    if fps is not None and not 0 < fps <= MAX_FPS:
        raise ConfigError(f"--fps {fps:g} must be greater than 0 and at most {MAX_FPS:g}.")


def write_film(frames: Iterable[Frame], out: Path, fps: float) -> int:
    """Writes frames as they come; the file appears when it is complete.

    Args:
        frames: At least one; all of the same, even size.
        out: The file; its suffix says the format.
        fps: Frames per second.

    Returns:
        The number of frames, repetitions not counted.

    Raises:
        ConfigError: the file cannot be written.
    """
    temporary = out.with_name(f".{out.stem}.tmp{out.suffix}")
    write = _write_gif if out.suffix.lower() == ".gif" else _write_mp4
    try:
        num_frames = write(frames, temporary, fps)
        with refusing_unwritable("--out", out):
            put_in_place(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    return num_frames


def _write_gif(frames: Iterable[Frame], path: Path, fps: float) -> int:
    from PIL import Image

    images, durations = [], []
    for frame in frames:
        # Without dithering, which would make flat areas flicker.
        images.append(frame.image.quantize(dither=Image.Dither.NONE))
        durations.append(round(1000 / fps) * frame.repeat)
    with refusing_unwritable("--out", path.parent):
        images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0)
    return len(images)


def _write_mp4(frames: Iterable[Frame], path: Path, fps: float) -> int:
    from imageio_ffmpeg import write_frames

    writer, num_frames = None, 0
    try:
        for frame in frames:
            with refusing_unwritable("--out", path.parent):
                if writer is None:
                    size = frame.image.size
                    writer = write_frames(str(path), size, fps=fps, quality=8, macro_block_size=2)
                    writer.send(None)
                for _ in range(frame.repeat):
                    writer.send(frame.image.tobytes())
            num_frames += 1
    finally:
        if writer is not None:
            with refusing_unwritable("--out", path.parent):
                writer.close()
    return num_frames
