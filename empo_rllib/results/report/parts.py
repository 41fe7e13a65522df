"""What a report is made of: plain data that the template turns into HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from markupsafe import Markup


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: what is shown.
        value: what sorts, to the last digit; None: the text.
        level: how dark the cell is shaded, 0 to 9; None: not at all.
    """

    text: str
    value: float | None = None
    level: int | None = None


@dataclass(frozen=True)
class Table:
    """Rows of equally many cells; the first cell of a row is its heading.

    Attributes:
        caption: what it shows.
        columns: their names, that of the headings included.
        rows: the cells.
        sortable: whether a click on a column's name sorts by it.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    sortable: bool = True


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class Code:
    """Text to copy: commands or a file. `folded` hides it until asked for."""

    kind: ClassVar[str] = "code"
    title: str
    text: str
    folded: bool = False


@dataclass(frozen=True)
class View:
    """A chart against one axis, and the table of its numbers.

    Attributes:
        svg: the picture.
        table: its numbers. Where `reads_table` is set, row i lies at the picture's `xs[i]`.
        axis: which choice of the axis shows it; empty: always.
        xs: where the table's rows lie in the picture; empty where there is nothing to point at.
    """

    svg: Markup
    table: Table
    axis: str = ""
    xs: Sequence[float] = ()


@dataclass(frozen=True)
class Chart:
    """A picture of numbers.

    Attributes:
        title: what it shows.
        views: against one axis or several.
    """

    title: str
    views: Sequence[View]


@dataclass(frozen=True)
class Charts:
    """Charts, side by side with their tables folded, or one below the other beside their tables."""

    kind: ClassVar[str] = "charts"
    charts: Sequence[Chart]
    layout: Literal["grid", "small", "beside"] = "grid"


@dataclass(frozen=True)
class Legend:
    """The lines or colours of the charts that follow: the number of a series, and its name."""

    kind: ClassVar[str] = "legend"
    entries: Sequence[tuple[int, str]]
    shape: str = "line"


@dataclass(frozen=True)
class AxisChoice:
    """Lets the reader choose what the charts of the section lie against: name and label."""

    kind: ClassVar[str] = "axis-choice"
    axes: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Film:
    """An episode to look at.

    Attributes:
        title: which one.
        caption: what happened.
        still: its last picture, a data URI.
        film: the moving one, a data URI.
    """

    title: str
    caption: str
    still: str
    film: str


@dataclass(frozen=True)
class Films:
    """Films beside each other."""

    kind: ClassVar[str] = "films"
    films: Sequence[Film]


Part = Table | Paragraph | Code | Charts | Legend | AxisChoice | Films


@dataclass(frozen=True)
class ReportSection:
    """A section of the report.

    Attributes:
        id: its anchor.
        title: its heading.
        parts: what it holds, in order.
    """

    id: str
    title: str
    parts: Sequence[Part]
