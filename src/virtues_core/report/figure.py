"""A figure of a report: what it is called, what it shows, and how it is drawn as SVG."""

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from virtues_core.errors import InputError

if TYPE_CHECKING:
    import matplotlib.figure

COLORS = (
    "#0072b2",  # blue
    "#e69f00",  # orange
    "#009e73",  # green
    "#cc79a7",  # magenta
    "#000000",  # black, where the window has a yellow that white paper swallows
    "#7f5fc7",  # violet
    "#d55e00",  # red
    "#56b4e9",  # sky
)
"""Hues in the order of the window's plots, in tones that are told apart on white by all eyes.

After M. Okabe and K. Ito, *Color Universal Design* (2008), violet added.
"""
MUTED = "#8a8f98"
"""For what is there to compare with: a baseline, chance, the rest of the cohort."""
INK = "#1f2328"
DIVERGING = "RdBu_r"
"""Colour map of values around zero."""
SEQUENTIAL = "viridis"
_STYLE = {
    "svg.fonttype": "none",  # text stays text: small, sharp, can be searched
    "text.parse_math": False,  # a patient's "$" is no formula
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "image.cmap": SEQUENTIAL,
    "savefig.facecolor": "white",
    "savefig.dpi": 150,  # of what is drawn as pixels
}
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_ID = re.compile(r'(\bid="|url\(#|xlink:href="#)')
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


@dataclass(frozen=True)
class Figure:
    """One figure of a report."""

    name: str
    """File name without ending, small letters, digits and hyphens; unique in its report."""
    title: str
    caption: str
    """What is drawn, of how many, and when not to believe it."""
    draw: "Callable[[matplotlib.figure.Figure], None]"
    """Fills a figure whose layout is *constrained*; `virtues_core.report.draw` has the parts.

    Text is taken as it is, without mathematics: values of patients may hold any sign. For axes by
    powers of ten use `draw.logarithmic`.
    """
    size_in: tuple[float, float] = (6.4, 4.2)
    """Width and height in inches; a page is 6.9 wide."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            message = (
                f"a figure is named by small letters, digits and hyphens, found {self.name!r}."
            )
            raise InputError(message)


def color(index: int) -> str:
    """Give the colour of the index-th group; after eight they come again."""
    return COLORS[index % len(COLORS)]


def svg(figure: Figure) -> str:
    """Draw a figure as an ``<svg>`` element.

    The same figure gives the same text. Its ids begin with the figure's name, so that several
    stand in one page without taking each other's clipping.

    Parameters
    ----------
    figure
        What to draw.

    Returns
    -------
    str
        From ``<svg`` to ``</svg>``, width and height in points.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure as Drawing

    written = io.StringIO()
    style: Any = {**_STYLE, "svg.hashsalt": figure.name}
    with mpl.rc_context(style), warnings.catch_warnings():
        # The reader's browser has the letters that the font used for measuring lacks.
        warnings.filterwarnings("ignore", r"(?s)Glyph .* missing from", UserWarning)
        drawing = Drawing(figsize=figure.size_in, layout="constrained")
        figure.draw(drawing)
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        drawing.savefig(written, format="svg", metadata=nothing)
    text = written.getvalue()
    element = printable(text[text.index("<svg") :].strip())
    return _ID.sub(rf"\g<1>{figure.name}-", element)


def printable(text: str) -> str:
    """Put a sign in place of control characters, which neither SVG nor HTML may hold."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
