"""A plot of an analysis whose curves, points, bars and fields can be clicked."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QSize, Qt
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtWidgets import QWidget

from napari_virtues.linked_drawing import Drawing, Series, stepped

if TYPE_CHECKING:
    from virtues_core.cohort.patients.results import LinkedPlot

MOST_LISTED = 10
"""Names in the legend; more would hide the plot."""
FEW_NAMES = 14
"""Categories whose names have room below an axis; of more every n-th is named."""
NAME_LETTERS, ALL_LETTERS = 16, 60
"""Of one name at an axis, and of all that are shown there."""
LEGEND = "#262930d0"
"""Behind the names, so that they can be read over points."""
_BAND = 48
"""Opacity of an interval, of 255."""


class LinkedPlotView(pg.PlotWidget):
    """Draws one plot at a time; the wheel zooms, dragging moves it."""

    picked = QtSignal(str)
    """What was clicked: a value of the plot's link."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, background=None)
        self.setMenuEnabled(False)
        self.hideButtons()
        self.drawing: Drawing | None = None
        """What is shown."""
        self._legend = self.addLegend(offset=(-8, 8), brush=LEGEND)
        for side in ("left", "bottom"):
            self.getAxis(side).enableAutoSIPrefix(enable=False)
        self.scene().sigMouseClicked.connect(self._on_click)

    def sizeHint(self) -> QSize:
        """Leave room for tissues below."""
        return QSize(380, 300)

    def minimumSizeHint(self) -> QSize:
        """Axes and curves can be told apart."""
        return QSize(240, 220)

    def show_drawing(self, plot: "LinkedPlot", drawing: Drawing) -> None:
        """Show a plot instead of the last."""
        item = self.getPlotItem()
        item.clear()
        self._legend.clear()
        self.drawing = drawing
        self.setLabel("bottom", plot.x_title or plot.x)
        self.setLabel("left", plot.y_title or plot.y)
        self.showGrid(x=not drawing.x_names, y=drawing.heat is None, alpha=0.2)
        self._name_places("bottom", drawing.x_names)
        self._name_places("left", drawing.y_names)
        draw = {"steps": self._steps, "points": self._points, "bars": self._bars}
        for one in drawing.series:
            drawn = draw[drawing.kind](one)
            if one.name and len(drawing.series) <= MOST_LISTED:
                self._legend.addItem(drawn, one.name)
        self._legend.setVisible(bool(self._legend.items))
        if drawing.heat is not None:
            self._heat(drawing)
        self.getViewBox().invertY(drawing.heat is not None)
        self.getViewBox().autoRange(padding=0.04)
        if drawing.x_names:
            self.setXRange(-0.5, len(drawing.x_names) - 0.5, padding=0.02)
        if drawing.kind == "steps" and all(_is_share(one.y) for one in drawing.series):
            self.setYRange(0, 1, padding=0.04)
        shapes = Qt.CursorShape
        self.setCursor(shapes.PointingHandCursor if plot.link else shapes.ArrowCursor)

    def on_screen(self, x: float, y: float) -> QPointF:
        """Return where a place of the plot is, in pixels of the viewport."""
        return QPointF(self.mapFromScene(self.getViewBox().mapViewToScene(QPointF(x, y))))

    def _on_click(self, event: Any) -> None:
        box = self.getViewBox()
        if self.drawing is None or event.button() != Qt.MouseButton.LeftButton:
            return
        if not box.sceneBoundingRect().contains(event.scenePos()):
            return
        place, (width, height) = box.mapSceneToView(event.scenePos()), box.viewPixelSize()
        found = self.drawing.at(place.x(), place.y(), (1 / width, 1 / height))
        if found:
            event.accept()
            self.picked.emit(found)

    def _name_places(self, side: str, names: tuple[str, ...]) -> None:
        step = max(1, -(-len(names) // FEW_NAMES))
        letters = max(3, min(NAME_LETTERS, ALL_LETTERS * step // max(1, len(names))))
        letters = NAME_LETTERS if side == "left" else letters
        shown = [(at, _short(name, letters)) for at, name in enumerate(names) if at % step == 0]
        self.getAxis(side).setTicks([shown] if names else None)

    def _steps(self, one: Series) -> Any:
        if one.interval is not None:
            self._band(one, one.interval)
        curve = _curve(one.x, one.y, pg.mkPen(one.color, width=2))
        self.addItem(curve)
        return curve

    def _band(self, one: Series, interval: NDArray[np.float64]) -> None:
        known = np.isfinite(interval).all(axis=0)
        if known.any():
            ends = [_curve(one.x[known], end, pg.mkPen(None)) for end in interval[:, known]]
            for end in ends:
                self.addItem(end)
            self.addItem(pg.FillBetweenItem(*ends, brush=_pale(one.color)))

    def _points(self, one: Series) -> Any:
        self._error_bars(one)
        cloud = pg.ScatterPlotItem(
            one.x,
            one.y,
            size=8 if len(one.x) < 2000 else 4,
            pen=pg.mkPen(None),
            brush=pg.mkBrush(one.color),
        )
        self.addItem(cloud)
        return cloud

    def _bars(self, one: Series) -> Any:
        width = 0.9 * self.drawing.bar_width if self.drawing is not None else 0.7
        bars = pg.BarGraphItem(
            x=one.x, height=one.y, width=width, brush=pg.mkBrush(one.color), pen=pg.mkPen(None)
        )
        self.addItem(bars)
        self._error_bars(one)
        return bars

    def _error_bars(self, one: Series) -> None:
        if one.interval is None:
            return
        low, high = one.interval
        known = np.isfinite(low) & np.isfinite(high)
        if known.any():
            x, y = one.x[known], one.y[known]
            self.addItem(
                pg.ErrorBarItem(
                    x=x, y=y, top=high[known] - y, bottom=y - low[known], beam=0.15,
                    pen=pg.mkPen("#9aa2ad"),
                )
            )  # fmt: skip

    def _heat(self, drawing: Drawing) -> None:
        if drawing.heat is None or not drawing.heat.values.size:
            return
        values = drawing.heat.values
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        signed = low < 0 < high
        limit = max(-low, high)
        levels = (-limit, limit) if signed else (low, high if high > low else low + 1)
        share = (np.nan_to_num(values) - levels[0]) / (levels[1] - levels[0])
        colors = pg.colormap.get("CET-D1A" if signed else "viridis").map(share.ravel())
        rows, columns = values.shape
        colors = colors.reshape(rows, columns, 4)
        colors[~np.isfinite(values), 3] = 0
        picture = pg.ImageItem(colors.transpose(1, 0, 2), levels=(0, 255))
        picture.setRect(-0.5, -0.5, columns, rows)
        self.addItem(picture)


def _curve(x: NDArray[np.float64], y: NDArray[np.float64], pen: Any) -> pg.PlotCurveItem:
    corners = stepped(x, y)
    return pg.PlotCurveItem(corners[:, 0].copy(), corners[:, 1].copy(), pen=pen)


def _is_share(values: NDArray[np.float64]) -> bool:
    return bool(np.all((values >= 0) & (values <= 1)))


def _pale(color: str) -> Any:
    found = pg.mkColor(color)
    found.setAlpha(_BAND)
    return pg.mkBrush(found)


def _short(name: str, letters: int) -> str:
    return name if len(name) <= letters else name[: letters - 1] + "…"
