"""Colours of the page, as people see them who see no red or no green."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

import empo_rllib.results.report

CSS = (Path(empo_rllib.results.report.__file__).parent / "templates/report.css").read_text()
# On linear RGB: Viénot, Brettel and Mollon 1999, "Digital video colourmaps for checking the
# legibility of displays by dichromats".
SIGHT = {
    "full": np.eye(3),
    "no red": [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
    "no green": [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
}
# From linear sRGB to CIE XYZ (IEC 61966-2-1), with the white point D65.
XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]],
)
# What most people notice at a glance is a difference of 2 to 10 (CIE 1976).
CLEARLY = 10


def colours(theme):
    """The colours of the page and of the series."""
    values = {}
    for name, value in re.findall(r"--(page|s\d): (.+);", CSS):
        texts = re.findall(r"#[0-9a-f]{6}", value)
        values[name] = texts[-1 if theme == "dark" else 0]
    return values


def lab(colour, sight):
    encoded = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(SIGHT[sight]) @ linear, 0, 1)
    x, y, z = np.cbrt(np.maximum(XYZ @ seen / XYZ.sum(1), 1e-6))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_two_series_look_alike_and_none_like_the_page(theme, sight):
    found = colours(theme)
    assert len(found) == 8
    for (one, a), (other, b) in itertools.combinations(found.items(), 2):
        difference = np.linalg.norm(lab(a, sight) - lab(b, sight))
        assert difference > CLEARLY, f"{one} {a} and {other} {b}: {difference:.1f}"
