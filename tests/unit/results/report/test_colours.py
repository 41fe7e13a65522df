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


SERIES = [f"s{number}" for number in range(7)]
# Opacity of what is drawn over the page: lines and points that hold numbers have none.
OPAQUE = ("line", "member", "point", "axis", "cursor", "goal", "bar")


def palette(theme):
    """All colours of a theme by name."""
    found = {}
    for name, value in re.findall(r"--([a-z]+\d?): (.+);", CSS):
        texts = re.findall(r"#[0-9a-f]{6}", value)
        if texts:
            found[name] = texts[-1 if theme == "dark" else 0]
    return found


def colours(theme):
    """The colours of the page and of the series."""
    return {name: colour for name, colour in palette(theme).items() if name in ("page", *SERIES)}


def rgb(colour):
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def mixed(colour, share, below):
    """A translucent colour over another one, as browsers mix them."""
    parts = np.rint(255 * (share * rgb(colour) + (1 - share) * rgb(below))).astype(int)
    return "#" + "".join(f"{part:02x}" for part in parts)


def contrast(one, other):
    """The contrast ratio of WCAG 2.2, of which text needs 4.5 and lines need 3."""
    lights = []
    for colour in (one, other):
        encoded = rgb(colour)
        linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
        lights.append(float(linear @ [0.2126, 0.7152, 0.0722]))
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def opacities(pattern):
    """The numbers that a pattern finds in the style."""
    return [float(text) for text in re.findall(pattern, CSS)]


def test_the_contrast_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_the_page_from_panels_and_from_shaded_cells(theme):
    found = palette(theme)
    shades = opacities(r"\.level\d .+ (\d+)%")
    assert len(shades) == 10
    cells = [mixed(found["s0"], shade / 100, found["page"]) for shade in shades]

    for below in (found["page"], found["panel"]):
        for name in ("text", "faint", "link"):
            assert contrast(found[name], below) >= 4.5, (name, below)
    assert min(contrast(found["text"], cell) for cell in cells) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_lines_points_and_marks_stand_out(theme):
    """Also on panels, on which the maps are."""
    found = palette(theme)

    for below in (found["page"], found["panel"]):
        for name in (*SERIES, "faint", "text"):
            assert contrast(found[name], below) >= 3, (name, below)
    for name in OPAQUE:
        rules = re.findall(rf"\.{name}\b[^{{}}]*{{([^}}]*)}}", CSS)
        assert rules
        assert all("opacity" not in rule for rule in rules), name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_intervals_have_an_edge_that_stands_out_and_walls_do_too(theme):
    found = palette(theme)
    (band,) = re.findall(r"\.band {([^}]*)}", CSS)
    assert "stroke: var(--c)" in band
    assert " opacity" not in band  # of the area only
    (wall,) = opacities(r"\.wall .*fill-opacity: (\.\d+)")

    assert contrast(mixed(found["faint"], wall, found["panel"]), found["panel"]) >= 3


def lab(colour, sight):
    encoded = rgb(colour)
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
