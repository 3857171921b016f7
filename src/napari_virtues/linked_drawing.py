"""A linked plot and its table → what is drawn, and which row a click means. Knows no Qt."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_virtues.space_cells import color_of
from virtues_core.errors import ReadError

if TYPE_CHECKING:
    import pandas as pd

    from virtues_core.cohort.patients.results import Kind, LinkedPlot

ONE_COLOR = "#7aa2ff"
BAR_WIDTH = 0.8
"""Of the bars at one place together; places are 1 apart."""
NEAR_PX = 12.0
"""A click farther from a curve or a point than this means nothing."""
MOST_SERIES = 40
"""A column with more values colours nothing: all is drawn in one colour."""


@dataclass(frozen=True, eq=False)
class Series:
    """N rows of the table that are drawn in one colour."""

    name: str
    color: str
    """As ``#rrggbb``."""
    x: NDArray[np.float64]
    """(N,); of bars where each stands."""
    y: NDArray[np.float64]
    """(N,)."""
    interval: NDArray[np.float64] | None
    """(2, N) lower and upper end, NaN where there is none; None where the table has none."""
    links: tuple[str, ...]
    """(N,) what a click on each means."""


@dataclass(frozen=True, eq=False)
class Heat:
    """Values of R × C fields."""

    values: NDArray[np.float64]
    """(R, C), NaN where the table has no row."""
    links: tuple[tuple[str, ...], ...]
    """(R, C) what a click on each means; "" for nothing."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """What a plot shows."""

    kind: "Kind"
    series: tuple[Series, ...] = ()
    heat: Heat | None = None
    x_names: tuple[str, ...] = ()
    """Categories at 0, 1, …; none where x is a number."""
    y_names: tuple[str, ...] = ()
    bar_width: float = BAR_WIDTH

    def at(self, x: float, y: float, px: tuple[float, float]) -> str:
        """Return what a click means; "" for nothing.

        Parameters
        ----------
        x, y
            Where it was, in the plot's units.
        px
            Pixels of the screen in one unit of x, and of y.
        """
        if self.heat is not None:
            return _field_at(self.heat, x, y)
        found = [(NEAR_PX, "")]
        for one in self.series:
            if not len(one.x):
                continue
            if self.kind == "bars":
                at, far = _nearest(np.abs(one.x - x))
                distance = 0.0 if far <= self.bar_width / 2 else np.inf
            elif self.kind == "steps":
                at = max(0, int(np.searchsorted(one.x, x, side="right")) - 1)
                inside = one.x[0] <= x <= one.x[-1]
                distance = abs(float(one.y[at]) - y) * px[1] if inside else np.inf
            else:
                at, distance = _nearest(np.hypot((one.x - x) * px[0], (one.y - y) * px[1]))
            found.append((distance, one.links[at]))
        return min(found, key=lambda pair: pair[0])[1]


def drawing_of(plot: "LinkedPlot", table: "pd.DataFrame") -> Drawing:
    """Lay out a plot.

    Columns ``lower`` and ``upper`` of the table are the interval of y of curves and bars. Series
    are in the order of their names, so that one has the same colour in all plots.

    Parameters
    ----------
    plot
        What is to be drawn; of a ``heat`` the column ``by`` gives the values.
    table
        Its table.

    Raises
    ------
    ReadError
        There is text where numbers are drawn.
    """
    if plot.kind == "heat":
        return _heat(plot, table)
    x, x_names = _places(table[plot.x], always=plot.kind == "bars")
    names, codes = _series_names(plot, table)
    series = []
    width = BAR_WIDTH / len(names) if plot.kind == "bars" else BAR_WIDTH
    y = _numbers(table[plot.y], plot)
    interval = _interval(table, plot)
    links = texts_of(table[plot.link]) if plot.link else [""] * len(table)
    for number, name in enumerate(names):
        rows = np.flatnonzero((codes == number) & np.isfinite(x) & np.isfinite(y))
        if plot.kind == "steps":
            rows = rows[np.argsort(x[rows], kind="stable")]
        shift = (number - (len(names) - 1) / 2) * width if plot.kind == "bars" else 0.0
        series.append(
            Series(
                name,
                color_of(number) if len(names) > 1 else ONE_COLOR,
                x[rows] + shift,
                y[rows],
                None if interval is None else interval[:, rows],
                tuple(links[row] for row in rows),
            )
        )
    return Drawing(plot.kind, tuple(series), x_names=x_names, bar_width=width)


def text_of(value: Any) -> str:
    """Write a value as a link compares it: whole numbers alike, whatever their type.

    Examples
    --------
    >>> text_of(3), text_of(3.0), text_of("3"), text_of(0.5), text_of(None), text_of(True)
    ('3', '3', '3', '0.5', '', 'true')
    """
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return ""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def texts_of(column: "pd.Series[Any]") -> list[str]:
    """Write each value of a column (N,)."""
    return [text_of(value) for value in column.tolist()]


def stepped(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the corners (2 N - 1, 2) of a curve that keeps each y until the next x.

    Examples
    --------
    >>> stepped(np.array([0.0, 2.0]), np.array([1.0, 0.5])).tolist()
    [[0.0, 1.0], [2.0, 1.0], [2.0, 0.5]]
    """
    return np.column_stack([np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]])


def _nearest(distances: NDArray[np.float64]) -> tuple[int, float]:
    at = int(np.argmin(distances))
    return at, float(distances[at])


def _field_at(heat: Heat, x: float, y: float) -> str:
    row, column = round(y), round(x)
    rows, columns = heat.values.shape
    return heat.links[row][column] if 0 <= row < rows and 0 <= column < columns else ""


def _places(
    column: "pd.Series[Any]", *, always: bool
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return where each row stands (N,), and the names of the places where they are categories."""
    import pandas as pd

    if not always and pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(np.float64), ()
    names = texts_of(column)
    known = tuple(dict.fromkeys(names))
    place = {name: number for number, name in enumerate(known)}
    return np.array([place[name] for name in names], np.float64), known


def _series_names(
    plot: "LinkedPlot", table: "pd.DataFrame"
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the names of the series, and the number (N,) of each row's."""
    if not plot.by:
        return ("",), np.zeros(len(table), np.int64)
    texts = texts_of(table[plot.by])
    names = tuple(sorted(set(texts), key=_in_order))
    if not 0 < len(names) <= MOST_SERIES:
        return ("",), np.zeros(len(table), np.int64)
    place = {name: number for number, name in enumerate(names)}
    return names, np.array([place[text] for text in texts], np.int64)


def _in_order(name: str) -> tuple[float, str]:
    """Sort numbers by size, before words."""
    try:
        return float(name), name
    except ValueError:
        return np.inf, name


def _interval(table: "pd.DataFrame", plot: "LinkedPlot") -> NDArray[np.float64] | None:
    if plot.kind == "points" or not {"lower", "upper"} <= set(table):
        return None
    return np.stack([_numbers(table[name], plot) for name in ("lower", "upper")])


def _numbers(column: "pd.Series[Any]", plot: "LinkedPlot") -> NDArray[np.float64]:
    try:
        return column.to_numpy(np.float64)
    except (TypeError, ValueError) as error:
        message = (
            f"plot {plot.name!r}: expected numbers in the column {column.name!r} of its table, "
            f"found text ({error}). The results were edited: run the analysis again."
        )
        raise ReadError(message) from error


def _heat(plot: "LinkedPlot", table: "pd.DataFrame") -> Drawing:
    x, x_names = _places(table[plot.x], always=True)
    y, y_names = _places(table[plot.y], always=True)
    values = np.full((len(y_names), len(x_names)), np.nan)
    links = [[""] * len(x_names) for _ in y_names]
    column = _numbers(table[plot.by], plot) if plot.by else np.ones(len(table))
    meant = texts_of(table[plot.link]) if plot.link else [""] * len(table)
    for row, line, value, link in zip(y.astype(int), x.astype(int), column, meant, strict=True):
        values[row, line], links[row][line] = value, link
    found = Heat(values, tuple(map(tuple, links)))
    return Drawing("heat", heat=found, x_names=x_names, y_names=y_names)
