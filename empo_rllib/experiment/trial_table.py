"""The trials of a run as a table that fits a terminal, the best first.

Columns are left out where the terminal is too narrow for them; none wraps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.cells import cell_len, set_cell_size
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from empo_rllib import columns
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.experiment.summary import ExperimentResult, TrialSummary
from empo_rllib.experiment.time_left import (
    duration,
    may_end_earlier,
    rough_duration,
    run_time_left,
    share_done,
    time_left,
)
from empo_rllib.terminal import printable

Rows = Mapping[str, Mapping[str, float]]

_STYLES = {
    "running": "cyan",
    "finished": "green",
    "stopped": "yellow",
    "interrupted": "yellow",
    "failed": "bold red",
}
_MAX_ROWS = 20
# Around the rows: the header, up to three lines below them, and the cursor's.
_OTHER_LINES = 5
_GAP = 2
_BAR_WIDTH = 8
_NUMBER_WIDTH = 7
_MAX_TEXT_WIDTH = 14
_MAX_POLICIES = 4
_MAX_CUSTOM = 4
#: Stands for a number or a value that a trial does not have.
NONE = "-"
#: Names of keys whose last part would say nothing.
SHORT_NAMES = {"algorithm.name": "algorithm"}


@dataclass(frozen=True)
class _Column:
    """A column; its width stays the same while its numbers grow.

    Those of a higher rank are left out first, those of rank 0 never.
    """

    name: str
    cells: Sequence[RenderableType]
    width: int
    rank: int = 0
    justify: Literal["left", "right"] = "right"


class TrialTable:
    """Draws the trials of a run.

    Args:
        config: The experiment.
        result: Its trials.
    """

    def __init__(self, config: ExperimentConfig, result: ExperimentResult) -> None:
        self._config = config
        self._result = result
        self._varied = VariedParams(result)

    def render(self, rows: Rows, width: int, height: int) -> RenderableType:
        """Returns the trials that have begun, and lines about all of them.

        Args:
            rows: The newest row of each trial that has one.
            width: Columns of the terminal.
            height: Lines of the terminal. If trials do not fit in, those that run are shown.
        """
        begun = [trial for trial in self._result.trials if _has_begun(trial)]
        shown = self._best_first(self._most_relevant(begun, height - _OTHER_LINES))
        chosen, left_out = _fitting(self._columns(shown, rows), width)
        several = len(self._result.trials) > 1
        lines = [describe_counts(self._config, self._result)] if several else []
        if len(shown) < len(begun):
            lines.append(f"not shown: {len(begun) - len(shown)} more trials that have begun")
        if left_out and shown:
            lines.append(_listed(f"not shown in {width} columns: ", left_out, width))
        texts = [Text(line, no_wrap=True) for line in lines]
        return Group(*([_build_table(chosen)] if shown else []), *texts)

    def _most_relevant(self, begun: Sequence[TrialSummary], room: int) -> list[TrialSummary]:
        ranked = sorted(self._best_first(begun), key=lambda trial: trial.status != "running")
        return ranked[: min(_MAX_ROWS, max(1, room))]

    def _best_first(self, trials: Sequence[TrialSummary]) -> list[TrialSummary]:
        """Sorts by `tune.metric`: first settled values, then others, last trials without one."""
        sign = -1 if self._result.mode == "max" else 1

        def rank(trial: TrialSummary) -> tuple[bool, bool, float]:
            return trial.metric is None, not trial.is_settled, sign * (trial.metric or 0.0)

        return sorted(trials, key=rank)

    def _columns(self, shown: Sequence[TrialSummary], rows: Rows) -> list[_Column]:
        newest = [rows.get(trial.trial_id, {}) for trial in shown]
        ids = [trial.trial_id for trial in shown]
        metric = self._config.tune.objective.metric
        widest = len("at most 59m59s" if may_end_earlier(self._config) else "59m59s left")
        states = [
            Text(describe_status(self._config, trial, trial.trial_id in rows), _style(trial))
            for trial in shown
        ]
        return [
            _Column("trial", list(map(Text, ids)), max(map(len, ids), default=0), 0, "left"),
            *self._param_columns(ids),
            *self._bar_columns(shown),
            self._steps_column(shown),
            _numbers("steps/s", [row.get(columns.ENV_STEPS_PER_S) for row in newest], 4, "{:,.0f}"),
            _numbers("return", [trial.episode_return_mean for trial in shown]),
            *(
                [_numbers("metric", [trial.metric for trial in shown])]
                if metric != columns.EPISODE_RETURN_MEAN
                else []
            ),
            *_policy_columns(newest),
            *_custom_columns(newest),
            _Column("status", states, max([widest, *map(len, states)]), 0, "left"),
        ]

    def _param_columns(self, ids: Sequence[str]) -> list[_Column]:
        params = self._varied.by_trial()
        return [
            _Column(
                _short(name),
                [Text(params[trial_id][name]) for trial_id in ids],
                max(cell_len(text) for p in params.values() for text in (_short(name), p[name])),
                rank=1,
            )
            for name in next(iter(params.values()))
        ]

    def _bar_columns(self, shown: Sequence[TrialSummary]) -> list[_Column]:
        bars: list[RenderableType] = []
        percent = []
        for trial in shown:
            share = share_done(self._config, vars(trial))
            if share is None:  # nothing limits the trials but their return
                return []
            style = _style(trial)
            bars.append(ProgressBar(1.0, share, complete_style=style, finished_style=style))
            percent.append(Text(f"{share:.0%}"))
        return [_Column("progress", bars, _BAR_WIDTH), _Column("", percent, len("100%"))]

    def _steps_column(self, shown: Sequence[TrialSummary]) -> _Column:
        cells = [f"{trial.env_steps:,}" for trial in shown]
        texts = ["env steps", f"{self._config.stop.env_steps or 0:,}", *cells]
        return _Column("env steps", list(map(Text, cells)), max(map(len, texts)), rank=2)


def describe_counts(config: ExperimentConfig, result: ExperimentResult) -> str:
    """Returns how many trials are in each state, such as `2 running, 18 to go, about 12 min`."""
    counts = Counter[str](trial.status for trial in result.trials)
    num_pending = counts.pop("pending", 0)
    parts = [f"{counts[key]} {key}" for key in dict.fromkeys([*_STYLES, *counts]) if counts[key]]
    parts += [f"{num_pending} to go"] if num_pending else []
    seconds = run_time_left(config, result)
    if seconds is not None and len(result.trials) > 1:
        bound = "at most" if may_end_earlier(config) else "about"
        parts.append(f"{bound} {rough_duration(seconds)}")
    return ", ".join(parts)


class VariedParams:
    """What differs between the trials of a run, as `describe_params` has it.

    It is described again when trials have got values: with `tune.search`, as they start.
    """

    def __init__(self, result: ExperimentResult) -> None:
        self._trials = result.trials
        self._num_chosen = -1
        self._params: dict[str, dict[str, str]] = {}

    def by_trial(self) -> dict[str, dict[str, str]]:
        """Returns the texts of each trial's values by short name."""
        num_chosen = sum(bool(trial.params) for trial in self._trials)
        if num_chosen != self._num_chosen:
            self._num_chosen = num_chosen
            self._params = describe_params(self._trials)
        return self._params


def describe_params(trials: Sequence[TrialSummary]) -> dict[str, dict[str, str]]:
    """Returns what differs between trials: values of search spaces by short names, and the seed.

    A trial that has no value of a key has `NONE`.
    """
    values = {trial.trial_id: {**trial.params, "seed": trial.seed} for trial in trials}
    names = _short_names(dict.fromkeys(key for one in values.values() for key in one))
    texts = {
        trial_id: {name: _value(one[key]) if key in one else NONE for key, name in names.items()}
        for trial_id, one in values.items()
    }
    varied = [name for name in names.values() if len({one[name] for one in texts.values()}) > 1]
    return {trial_id: {name: one[name] for name in varied} for trial_id, one in texts.items()}


def describe_status(config: ExperimentConfig, trial: TrialSummary, has_row: bool) -> str:
    """Returns `1m15s left`, `at most 2m47s`, or the status of a trial that does not run.

    Args:
        config: The experiment.
        trial: The trial.
        has_row: Whether it has finished an iteration since it was started or resumed.
    """
    if trial.status != "running":
        return "stopped early" if trial.status == "stopped" else trial.status
    if not has_row:
        return "starting"
    seconds = time_left(config, vars(trial))
    if seconds is None:
        return "running"
    text = duration(seconds)
    return f"at most {text}" if may_end_earlier(config) else f"{text} left"


def _has_begun(trial: TrialSummary) -> bool:
    return trial.status in ("running", "failed") or trial.env_steps > 0


def _style(trial: TrialSummary) -> str:
    return _STYLES.get(trial.status, "")


def _numbers(
    name: str, values: Sequence[float | None], rank: int = 0, form: str = "{:.3f}"
) -> _Column:
    cells = [NONE if value is None else form.format(value) for value in values]
    width = max([_NUMBER_WIDTH, cell_len(name), *map(len, cells)])
    return _Column(name, list(map(Text, cells)), width, rank)


def _policy_columns(newest: Sequence[Mapping[str, float]]) -> list[_Column]:
    found = _columns_of(columns.POLICY_RETURN_MEAN, newest, rank=3)
    return found[:_MAX_POLICIES] if len(found) > 1 else []  # of one the return says the same


def _custom_columns(newest: Sequence[Mapping[str, float]]) -> list[_Column]:
    return _columns_of(columns.CUSTOM, newest, rank=5)[:_MAX_CUSTOM]


def _columns_of(prefix: str, newest: Sequence[Mapping[str, float]], rank: int) -> list[_Column]:
    keys = dict.fromkeys(key for row in newest for key in row if key.startswith(prefix))
    return [
        _numbers(_short(key.removeprefix(prefix)), [row.get(key) for row in newest], rank)
        for key in keys
    ]


def _fitting(known: Sequence[_Column], width: int) -> tuple[list[_Column], list[str]]:
    """Returns the columns that fit in, and the names of those that do not."""
    room = width + _GAP
    chosen = set()
    for number, column in sorted(enumerate(known), key=lambda pair: pair[1].rank):
        if column.rank == 0 or column.width + _GAP <= room:
            room -= column.width + _GAP
            chosen.add(number)
    return (
        [column for number, column in enumerate(known) if number in chosen],
        [column.name for number, column in enumerate(known) if number not in chosen],
    )


def _listed(start: str, names: Sequence[str], width: int) -> str:
    """Returns as many names as fit in, and how many more there are."""
    texts = [f"{start}{', '.join(names)}"]
    for count in range(len(names) - 1, -1, -1):
        texts.append(f"{start}{', '.join(names[:count])} and {len(names) - count} more")
    return next((text for text in texts if cell_len(text) <= width), texts[-1])


def _build_table(chosen: Iterable[_Column]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in chosen:
        name = Text(column.name)
        table.add_column(name, width=column.width, no_wrap=True, justify=column.justify)
    for cells in zip(*(column.cells for column in chosen), strict=True):
        table.add_row(*cells)
    return table


def _short_names(keys: Iterable[str]) -> dict[str, str]:
    """Returns the last part of each key, or all of it where another one ends alike."""
    last = {key: SHORT_NAMES.get(key, key.rpartition(".")[2]) for key in keys}
    counts = Counter(last.values())
    return {key: printable(end if counts[end] == 1 else key) for key, end in last.items()}


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else _short(" ".join(str(value).split()))


def _short(text: str) -> str:
    return _cut(printable(text), _MAX_TEXT_WIDTH)


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else f"{set_cell_size(text, width - 2)}.."
