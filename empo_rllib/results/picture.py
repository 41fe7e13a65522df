"""What `render()` returned, as a picture."""

from __future__ import annotations

from typing import Any

import numpy as np


def as_picture(rendered: Any) -> np.ndarray | None:
    """Returns a picture, uint8 of shape (height, width, 3); None where nothing can be shown.

    Accepted are arrays and images of numbers in 0..255, fractions in 0..1 and booleans, grey, RGB
    or RGBA, and lists of such pictures, of which the last one is the present.
    """
    if isinstance(rendered, list | tuple) and rendered and np.ndim(rendered[-1]) == 3:
        rendered = rendered[-1]
    try:
        picture = np.asarray(rendered)
    except ValueError:  # rows of different lengths
        return None
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.dtype.kind not in "buif" or picture.ndim != 3 or 0 in picture.shape:
        return None
    if picture.shape[2] == 1:
        picture = np.repeat(picture, 3, axis=2)
    if picture.shape[2] not in (3, 4):
        return None
    return _to_bytes(picture[..., :3])


def _to_bytes(picture: np.ndarray) -> np.ndarray:
    if picture.dtype == np.uint8:
        return picture
    numbers = np.nan_to_num(picture.astype(np.float64))
    is_fraction = picture.dtype.kind in "bf" and numbers.max() <= 1
    return np.clip(numbers * (255 if is_fraction else 1), 0, 255).astype(np.uint8)
