"""Charts are well-formed, to scale, and hold no text that was not escaped."""

from __future__ import annotations

import itertools
import math
from xml.etree import ElementTree

import numpy as np
import pytest

from empo_rllib.results.report.charts.bars import draw_shares
from empo_rllib.results.report.charts.heat import draw_grid, visit_level
from empo_rllib.results.report.charts.lines import Dot, Reference, draw_lines
from empo_rllib.results.report.charts.points import Point, draw_points
from empo_rllib.results.report.charts.svg import Scale, linear_ticks, path, span, x_scale
from empo_rllib.results.report.curves import Curve, Series
from empo_rllib.results.report.numbers import short

HOSTILE = '<script>alert("1")</script> & co'


def parse(svg):
    assert "<script" not in svg
    return ElementTree.fromstring(svg)


def series(xs, ys, label="one", number=0, curves=None):
    array, values = np.asarray(xs, float), np.asarray(ys, float)
    curves = curves or [Curve(array, values)]
    return Series(label, number, curves, array, values, values - 1, values + 1)


def described(root):
    return root.find("title").text, root.find("desc").text


def test_a_line_chart_tells_what_it_shows_and_has_a_table_row_per_place():
    view = draw_lines(HOSTILE, [series([0, 50, 100], [1, 2, 4], HOSTILE)], "env_steps", "env steps")

    title, description = described(parse(view.svg))
    assert title == HOSTILE
    assert description == f"1 lines against env steps: {HOSTILE}. The table has the numbers."
    assert [row[0].value for row in view.table.rows] == [0.0, 50.0, 100.0]
    assert [row[1].text for row in view.table.rows] == [
        "1.000 (0.000 to 2.000)",
        "2.000 (1.000 to 3.000)",
        "4.000 (3.000 to 5.000)",
    ]
    assert view.xs == sorted(view.xs)


def test_seeds_are_thin_lines_under_their_mean_and_its_band():
    curves = [Curve(np.array([1.0, 2.0]), np.array([y, y])) for y in (1.0, 3.0)]
    root = parse(draw_lines("t", [series([1, 2], [2, 2], curves=curves)], "", "x").svg)

    classes = [element.get("class") for element in root.findall("path")]
    assert classes == ["band s0 d0", "member s0 d0", "member s0 d0", "line s0 d0"]


@pytest.mark.parametrize("ys", [[5.0], [0.0], [-1e9], [1e-12]])
def test_a_single_point_is_drawn_inside(ys):
    root = parse(draw_lines("t", [series([0.0], ys)], "", "x").svg)

    (circle,) = root.findall("circle")
    assert 0 < float(circle.get("cx")) < 440
    assert 0 < float(circle.get("cy")) < 270


def test_a_curve_of_many_rows_is_drawn_with_few_points():
    xs = np.arange(10_000.0)
    view = draw_lines("t", [series([0, 9999], [0, 1], curves=[Curve(xs, np.sin(xs))])], "", "x")

    assert len(view.svg) < 8_000


def test_points_lie_at_numbers_or_at_categories():
    numbers = parse(draw_points("t", [Point(1e-4, 1.0, HOSTILE), Point(1e-2, 2.0, "b")], "lr"))
    names = parse(draw_points("t", [Point("a" * 40, 1.0, "a"), Point(HOSTILE, 2.0, "b")], "x"))

    for root in (numbers, names):
        first, second = root.findall("circle")
        assert float(first.get("cx")) < float(second.get("cx"))
        assert float(first.get("cy")) > float(second.get("cy"))  # up is more
    assert "0.001" in [text.text for text in numbers.findall("text")]  # a logarithmic axis
    assert f"{'a' * 13}…" in [text.text for text in names.findall("text")]


def test_shares_fill_their_bar():
    root = parse(draw_shares("t", ["one", "two"], [[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]], "abc"))

    bars = root.findall("rect")
    assert len(bars) == 6
    widths = [float(bar.get("width")) for bar in bars[:3]]
    assert widths[0] / widths[2] == pytest.approx(2.5, abs=0.1)


def test_a_heat_map_draws_what_was_visited_walls_and_goals():
    shares, walls, goals = np.zeros((3, 2)), np.zeros((3, 2), bool), np.zeros((3, 2), bool)
    shares[1, 0], walls[0, 0], goals[2, 1] = 1.0, True, True

    root = parse(draw_grid("t", shares, walls, goals, 8))

    floor, wall, heat = root.findall("rect")
    assert floor.get("class") == "floor"
    assert (wall.get("class"), heat.get("class")) == ("wall s1", "heat h9 s1")
    assert (heat.get("x"), heat.get("y")) == ("100.5", "0.5")
    assert root.find("circle").get("cy") == "150"
    assert root.get("viewBox") == "0 0 300 200"


def test_shades_keep_small_shares_apart():
    levels = [visit_level(share, 0.5) for share in (0.0, 0.01, 0.02, 0.1, 0.5)]

    assert levels == sorted(levels)
    assert (levels[0], levels[-1]) == (0, 9)
    assert levels[1] < levels[2]
    assert visit_level(0.0, 0.0) == 0


@pytest.mark.parametrize(
    ("low", "high"),
    list(itertools.combinations([-1e6, -3.7, -1e-9, 0.0, 2e-7, 0.95, 1.0, 7e8], 2)),
)
def test_ticks_are_a_few_round_numbers_in_the_range(low, high):
    ticks = linear_ticks(low, high)

    assert 2 <= len(ticks) <= 7
    assert low - 1e-6 * (high - low) <= min(ticks)
    assert max(ticks) <= high + 1e-6 * (high - low)


def test_a_logarithmic_scale_gives_equal_ratios_equal_distances():
    scale = Scale(1e-4, 1.0, 0.0, 400.0, log=True)

    assert [scale(10.0**power) for power in (-4, -3, -2, 0)] == pytest.approx([0, 100, 200, 400])
    assert all(1e-4 <= tick <= 1 for tick in scale.ticks())
    assert x_scale(2.0, 2.5, log=True).ticks()


def test_a_range_is_never_empty():
    for values in ([], [math.nan], [3.0], [0.0, 0.0], [-2.0, -2.0]):
        low, high = span(values)
        assert low < high


def test_a_line_is_broken_where_nothing_is_known():
    assert path([(0.0, 1.0), (1.0, math.nan), (2.0, 3.0), (3.0, 4.0)]) == "M0 1M2 3L3 4"


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0, "0"), (250, "250"), (50_000, "50k"), (1.5e6, "1.5M"), (2e9, "2G"), (-1e4, "-10k")],
)
def test_numbers_on_axes_are_short(number, text):
    assert short(number) == text


def test_dots_have_intervals_and_references_are_lines_across_all_inside():
    dots = [Dot(9.0, 1.5, (1.0, 2.5), "one", 0), Dot(9.0, 1.2, None, "other", 1)]
    lines = [Reference("random policy", -3.0), Reference("optimum", 4.0)]

    view = draw_lines("return", [series([0.0, 1.0], [0.0, 2.0])], "", "steps", dots, lines)

    tree = parse(view.svg)
    circles = tree.findall(".//g/circle")
    assert len({circle.get("cx") for circle in circles}) == 2
    assert [whisker.get("class") for whisker in tree.findall(".//g/line")] == ["whisker"]
    assert [g.find("title").text for g in tree.findall("g")] == [
        "one: 1.500 (1.000 to 2.500)",
        "other: 1.200",
    ]
    across = [line for line in tree.findall("line") if line.get("class") == "reference"]
    assert len(across) == 2
    assert all(0 < float(line.get("y1")) < 270 for line in across)
    assert "random policy: -3.000. optimum: 4.000." in tree.get("aria-label")
