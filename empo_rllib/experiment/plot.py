"""Learning curves as a matplotlib figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from empo_rllib import columns
from empo_rllib.errors import ConfigError, nearest

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def plot_curves(history: pd.DataFrame, metric: str, varied: Sequence[str]) -> Figure:
    """Returns a figure of a metric against env steps.

    It has a line for each trial. Trials that differ only in the seed have the same colour.

    Args:
        history: The rows of all trials, with `trial_id` and what each varied.
        metric: A column of it.
        varied: Columns of it: what trials varied besides the seed.

    Raises:
        ConfigError: There is no such column, or matplotlib is not installed.
    """
    if metric not in history or history[metric].isna().all():
        raise ConfigError(
            f"plot(): no trial has reported {metric!r}.{nearest(metric, history.columns)} "
            "The columns of history() are what there is to plot."
        )
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ConfigError(
            "plot() needs matplotlib, which is not installed. Run: pip install matplotlib "
            "(the extra `plot` of this package)."
        ) from None
    figure, axes = pyplot.subplots(layout="constrained")
    # A notebook shows the figure that the cell returns. Pyplot would show it once more.
    pyplot.close(figure)
    colours: dict[str, str] = {}
    for _, rows in history.groupby("trial_id", sort=False):
        label = ", ".join(f"{key.rpartition('.')[2]} {rows[key].iloc[0]}" for key in varied)
        shown = label if label not in colours else None
        colour = colours.setdefault(label, f"C{len(colours)}")
        points = rows.dropna(subset=[metric])
        axes.plot(points[columns.ENV_STEPS], points[metric], color=colour, label=shown)
    axes.set(xlabel="env steps", ylabel=metric)
    axes.grid(alpha=0.3)
    if varied:
        axes.legend()
    return figure
