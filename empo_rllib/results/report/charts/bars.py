"""Bars of stacked shares."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from empo_rllib.results.report.charts.svg import Scale, element, picture, series_class

_WIDTH, _ROW, _TOP = 440.0, 24.0, 4.0
_MAX_NAME = 18


def draw_shares(
    title: str, names: Sequence[str], shares: Sequence[Sequence[float]], parts: Sequence[str]
) -> Markup:
    """Draws one bar per name, whose parts add up to 1.

    Args:
        title: what the whole is.
        names: of the bars.
        shares: for each bar, the share of each part.
        parts: the names of the parts, in the order of the series' colours.
    """
    left = 10.0 + 7.4 * min(_MAX_NAME, max(len(name) for name in names))
    x = Scale(0.0, 1.0, left, _WIDTH - 4)
    content = []
    for row, (name, of_bar) in enumerate(zip(names, shares, strict=True)):
        y = _TOP + row * _ROW
        shown = name if len(name) <= _MAX_NAME else f"…{name[1 - _MAX_NAME :]}"
        at = {"x": left - 8, "y": y + 14, "text_anchor": "end"}
        content.append(element("text", shown, element("title", name), **at))
        start = 0.0
        for number, (part, share) in enumerate(zip(parts, of_bar, strict=True)):
            box = {"x": x(start), "y": y, "width": max(0.0, x(share) - x(0) - 1), "height": 18}
            text = element("title", f"{name}: {part} {share:.0%}")
            content.append(element("rect", text, class_=f"bar {series_class(number)}", **box))
            start += share
    description = f"Shares of {', '.join(parts)}. The table has the numbers."
    return picture(_WIDTH, _TOP + len(names) * _ROW, title, description, content)
