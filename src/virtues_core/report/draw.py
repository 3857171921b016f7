"""Parts that the figures of analyses are drawn from: curves, bars, intervals, heat maps, contours.

Each takes the axes (or the whole figure, where it needs more than one) and plain values; colours
are those of `virtues_core.report.figure`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from virtues_core.report.figure import DIVERGING, INK, MUTED, SEQUENTIAL, color
from virtues_core.report.numbers import DASH, number

_DASHES = ("-", "--", "-.", ":")
"""So that curves are told apart in print without colours too."""
_VECTOR_POINTS = 2000
"""Above, points are drawn as pixels: a page of 100,000 marks would not scroll."""
_LONGEST = 28
"""Letters of a name that are drawn; tables have all of it."""
_LETTERS = 8
"""Of names side by side below a heat map, for each inch of the figure; more stand upright."""
_GRID = 128
_MASSES = (0.5, 0.9)
"""Shares of the points within the contours."""


def survival_curves(
    figure: Figure, table: pd.DataFrame, *, by: str = "group", time: str = "time"
) -> Axes:
    """Draw Kaplan–Meier curves with bands, marks of who was censored, and who was at risk.

    Parameters
    ----------
    figure
        To fill.
    table
        A row a group and time at which an event or a censoring was, sorted by time: columns
        `by`; ``time``; ``survival``, ``lower``, ``upper`` from 0 to 1 just after it (NaN where no
        band is told); ``at_risk`` just before it; ``events`` and ``censored`` at it. Each group
        may begin with a row of time 0.
    by
        Column that parts the groups, drawn in order of appearance.
    time
        Title of the axis, with its unit.

    Returns
    -------
    Axes
        Of the curves, to add to.
    """
    groups = {str(name): rows for name, rows in table.groupby(by, sort=False, observed=True)}
    panels = figure.subplots(2, 1, sharex=True, height_ratios=[4, 0.35 + 0.28 * len(groups)])
    top: Axes = panels[0]
    for index, (name, rows) in enumerate(groups.items()):
        _survival_curve(top, name, rows, index)
    top.set(ylim=(0, 1.03), ylabel="probability of survival")
    top.set_xlim(left=0)
    top.tick_params(labelbottom=True)
    top.set_xlabel(time)
    top.legend(loc="best", fontsize="small")
    _at_risk(panels[1], groups, [t for t in top.get_xticks() if t <= top.get_xlim()[1]])
    return top


def _survival_curve(axes: Axes, name: str, rows: pd.DataFrame, index: int) -> None:
    start = [1.0] if float(rows["time"].iloc[0]) > 0 else []
    times = np.r_[[0.0] * len(start), rows["time"]]
    values = {c: np.r_[start, rows[c]] for c in ("survival", "lower", "upper")}
    told = f"{short(name)} ({number(int(rows['at_risk'].iloc[0]))} patients"
    told += f", {number(int(rows['events'].sum()))} events)"
    axes.step(
        times,
        values["survival"],
        where="post",
        label=told,
        color=color(index),
        linestyle=_DASHES[index % len(_DASHES)],
    )
    band: dict[str, Any] = {"step": "post", "color": color(index), "alpha": 0.15, "linewidth": 0}
    axes.fill_between(times, values["lower"], values["upper"], **band)
    censored = rows[rows["censored"] > 0]
    axes.plot(censored["time"], censored["survival"], "|", color=color(index), markersize=8)


def _at_risk(axes: Axes, groups: dict[str, pd.DataFrame], times: Sequence[float]) -> None:
    """Write how many of each group were still watched at each tick."""
    axes.spines[:].set_visible(False)
    axes.set_title("at risk", fontsize="small")
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_yticks(range(len(groups)), [short(name) for name in groups])
    axes.tick_params(length=0, labelbottom=False, pad=14)
    for row, (label, rows) in enumerate(zip(axes.get_yticklabels(), groups.values(), strict=True)):
        label.set_color(color(row))
        for t in times:
            later = rows[rows["time"] >= t]
            left = int(later["at_risk"].iloc[0]) if len(later) else 0
            axes.text(t, row, number(left), ha="center", va="center", fontsize="small")


def bars(
    axes: Axes,
    labels: Sequence[str],
    values: ArrayLike,
    *,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    colors: Sequence[str] | None = None,
    title: str = "",
) -> None:
    """Draw a horizontal bar for each label, the first on top, with its interval and number.

    Parameters
    ----------
    axes
        To fill.
    labels
        N names.
    values
        (N,); NaN is drawn as a dash.
    lower, upper
        (N,) ends of intervals; NaN where there is none.
    colors
        N colours; one for all if None.
    title
        Of the axis of values, with its unit.
    """
    found = np.asarray(values, float)
    places = np.arange(len(found))
    axes.barh(places, np.nan_to_num(found), height=0.6, color=list(colors or [color(0)]))
    if lower is not None and upper is not None:
        axes.hlines(places, np.asarray(lower, float), np.asarray(upper, float), color=INK, lw=1.2)
    ends = found if upper is None else np.fmax(found, np.asarray(upper, float))
    for place, value, end in zip(places, found, np.nan_to_num(ends), strict=True):
        axes.annotate(
            number(float(value)),
            (max(float(end), 0.0), float(place)),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
        )
    _labelled_rows(axes, labels)
    axes.margins(x=0.12)
    axes.set_xlabel(title)


def intervals(
    axes: Axes,
    labels: Sequence[str],
    estimates: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    reference: float = 1.0,
    log: bool = True,
    title: str = "",
) -> None:
    """Draw estimates with intervals, one a row, the first on top, beside a line of no effect.

    Parameters
    ----------
    axes
        To fill.
    labels
        N names.
    estimates, lower, upper
        (N,) values and ends of their intervals, above 0 when ``log``; a row whose estimate is NaN
        has a dash.
    reference
        Where no effect lies: 1 for ratios, 0 for differences.
    log
        Ratios are told on an axis by powers.
    title
        Of the axis of values.
    """
    found, low, high = (np.asarray(a, float) for a in (estimates, lower, upper))
    places = np.arange(len(found))
    if log:
        logarithmic(axes.xaxis)
    axes.axvline(reference, color=MUTED, lw=1, ls="--")
    axes.hlines(places, low, high, color=INK, lw=1.4)
    axes.plot(found, places, "s", color=color(0), markersize=6)
    for place in places[~np.isfinite(found)]:
        axes.text(reference, place, f" {DASH}", va="center")
    _labelled_rows(axes, labels)
    axes.set_xlabel(title)


def logarithmic(axis: Any) -> None:
    """Scale one axis (``axes.xaxis`` or ``axes.yaxis``) by powers, with plain numbers at ticks."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def heat_map(
    figure: Figure,
    values: ArrayLike,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str = "",
    centred: bool = False,
    written: bool = False,
) -> Axes:
    """Draw a table of numbers as colours, with its scale.

    Parameters
    ----------
    figure
        To fill.
    values
        (R, C); NaN is left white.
    rows, columns
        R and C names.
    title
        Of the scale, with its unit.
    centred
        Values are around zero: two hues, equal on both sides.
    written
        Also write each number into its field.
    """
    found = np.ma.masked_invalid(np.asarray(values, float))
    most = float(np.abs(found).max()) if found.count() else 1.0
    kind: dict[str, Any] = {"cmap": SEQUENTIAL}
    if centred:
        kind = {"cmap": DIVERGING, "vmin": -(most or 1.0), "vmax": most or 1.0}
    axes = figure.add_subplot()
    shown = axes.imshow(found, aspect="auto", interpolation="nearest", **kind)
    names = [short(name) for name in columns]
    upright = len("  ".join(names)) > _LETTERS * figure.get_figwidth()
    axes.set_xticks(range(len(names)), names, rotation=90 if upright else 0)
    axes.set_yticks(range(len(rows)), [short(name) for name in rows])
    axes.spines[:].set_visible(False)
    figure.colorbar(shown, ax=axes, label=title, location="top", aspect=50, shrink=0.6)
    for (row, column), value in np.ndenumerate(found) if written else ():
        if not np.ma.is_masked(value):
            dark = np.mean(shown.to_rgba(np.array([value]))[0, :3]) < 0.5
            ink = "white" if dark else INK
            axes.text(column, row, number(float(value), 2), ha="center", va="center", color=ink)
    return axes


def points(
    axes: Axes,
    x: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    contours: bool = True,
) -> None:
    """Draw points of a plane by group, with contours around 50 % and 90 % of each group.

    Parameters
    ----------
    axes
        To fill.
    x, y
        (N,) places.
    groups
        (N,) names, coloured in sorted order; all alike if None.
    contours
        Of densities; a group of fewer than ten points has none.
    """
    places = np.column_stack([np.asarray(x, float), np.asarray(y, float)])
    names = np.full(len(places), "") if groups is None else np.asarray(groups).astype(str)
    size = float(np.clip(100 / np.sqrt(max(len(places), 1)), 0.8, 5))
    for index, name in enumerate(np.unique(names)):
        own = places[names == name]
        axes.plot(
            *own.T,
            "o",
            color=color(index),
            markersize=size,
            markeredgewidth=0,
            alpha=0.4 if contours else 0.8,
            rasterized=len(places) > _VECTOR_POINTS,
        )
        axes.plot([], [], "o", color=color(index), label=f"{short(name)} ({len(own):,})")
        if contours:
            density_contours(axes, own, color(index))
    if groups is not None:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")


def density_contours(axes: Axes, places: NDArray[np.float64], shade: str) -> None:
    """Draw contours around 50 % and 90 % of points (N, 2), by their smoothed histogram.

    The kernel is a Gaussian of Scott's width (D. W. Scott, *Multivariate Density Estimation*,
    1992): the points' deviation times N^(-1/6). Fewer than ten points, or points in a line, have
    no contours.
    """
    from scipy.ndimage import gaussian_filter

    spread = places.std(axis=0) if len(places) else np.zeros(2)
    if len(places) < 10 or not (spread > 0).all():
        return
    width = spread * len(places) ** (-1 / 6)
    low, high = places.min(axis=0) - 3 * width, places.max(axis=0) + 3 * width
    edges = [np.linspace(*ends, _GRID + 1) for ends in zip(low, high, strict=True)]
    counts = np.histogramdd(places, edges)[0]
    density = gaussian_filter(counts, width / ((high - low) / _GRID), mode="constant")
    falling = np.sort(density, axis=None)[::-1]
    mass = np.cumsum(falling) / falling.sum()
    levels = sorted({float(falling[np.searchsorted(mass, share)]) for share in _MASSES})
    middles = [(e[1:] + e[:-1]) / 2 for e in edges]
    axes.contour(*middles, density.T, levels=levels, colors=[shade], linewidths=[1.0, 1.8])


def shares(axes: Axes, table: pd.DataFrame, *, title: str = "share") -> None:
    """Draw each row of a table as one bar parted by its columns, which sum to one.

    Parameters
    ----------
    axes
        To fill.
    table
        Index the bars' labels, the first on top; columns the parts, from 0 to 1.
    title
        Of the axis of shares.
    """
    left = np.zeros(len(table))
    for index, (part, values) in enumerate(table.items()):
        hatch = "//" if index >= 8 else None  # the colours come again
        axes.barh(
            np.arange(len(table)),
            values,
            left=left,
            color=color(index),
            height=0.6,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.5,
            label=short(part),
        )
        left = left + np.asarray(values, float)
    _labelled_rows(axes, [str(label) for label in table.index])
    axes.set_xlim(0, 1)
    axes.set_xlabel(title)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")


def chance(axes: Axes, drawn: ArrayLike, observed: float, *, title: str) -> None:
    """Draw what chance gave as a histogram, and what was found as a line.

    Parameters
    ----------
    axes
        To fill.
    drawn
        (N,) values under permuted labels.
    observed
        The value of the true labels.
    title
        Of the axis of values.
    """
    found = np.asarray(drawn, float)
    axes.hist(found, bins=min(30, max(5, len(found) // 5)), color=MUTED)
    axes.axvline(observed, color=color(6), lw=2)
    axes.annotate(
        f"found: {number(observed)}",
        (observed, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        color=color(6),
    )
    axes.set(xlabel=title, ylabel=f"of {len(found):,} permutations")


def _labelled_rows(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), [short(label) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)


def short(name: object) -> str:
    """Leave out what of a name is too long to stand beside a figure.

    Examples
    --------
    >>> short("Fibroblasts/Stroma"), short("CD4 T cells beside vessels of the margin")
    ('Fibroblasts/Stroma', 'CD4 T cells beside vessels …')
    """
    text = " ".join(str(name).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
