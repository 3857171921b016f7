"""A map of many points that can be moved, zoomed and lassoed.

Points are painted into a picture by numpy, which needs no graphics card and is several times
quicker than pyqtgraph's own scatter plot and, without a card, than OpenGL (docs/benchmarks.md).
"""

from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtGui import QImage, QPainter
from qtpy.QtWidgets import QWidget

from napari_virtues.space_cells import inside

FEW = 5_000
"""Fewer points are drawn larger."""
LASSO = "#ffd43b"


class Scatter(pg.PlotWidget):
    """N points; the wheel zooms, dragging moves the map, or draws a lasso where that is on."""

    lassoed = QtSignal(object)
    """(M,) which points a lasso went round; none where the map was clicked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        self._box = _Box(self)
        super().__init__(parent, viewBox=self._box, background="k")
        self._cloud = _Cloud()
        self._box.addItem(self._cloud)
        self.hideAxis("left")
        self.hideAxis("bottom")
        self.hideButtons()
        self._box.setMenuEnabled(False)
        self._box.setAspectLocked()

    def sizeHint(self) -> QSize:
        """Leave room for what is below the map."""
        return QSize(280, 300)

    def minimumSizeHint(self) -> QSize:
        """Two maps have room side by side."""
        return QSize(150, 220)

    @property
    def lasso(self) -> bool:
        """Whether dragging draws a lasso."""
        return self._box.lasso

    @lasso.setter
    def lasso(self, on: bool) -> None:
        self._box.lasso = on
        self.viewport().setCursor(
            Qt.CursorShape.CrossCursor if on else Qt.CursorShape.OpenHandCursor
        )

    @property
    def points(self) -> NDArray[np.float32]:
        """(N, 2) what is shown."""
        return np.column_stack([self._cloud.x, self._cloud.y])

    def show_points(self, points: NDArray[np.float32], title: str) -> None:
        """Show other points (N, 2), all in view and all in one colour."""
        self._cloud.place(points)
        self.setTitle(title, size="9pt")
        if len(points):
            self._box.setRange(self._cloud.boundingRect(), padding=0.03)

    def color(self, argb: NDArray[np.uint32]) -> None:
        """Colour the points: (N,) 0xAARRGGBB."""
        self._cloud.argb = argb
        self._cloud.update()

    def light_up(self, rows: NDArray[np.int64]) -> None:
        """Show these points bright and on top, and the others dim; none: all alike."""
        self._cloud.lit = rows
        self._cloud.update()

    def on_screen(self, point: NDArray[Any]) -> QPointF:
        """Return where a point (x, y) is, in pixels of the viewport."""
        return QPointF(self.mapFromScene(self._box.mapViewToScene(QPointF(*map(float, point)))))

    def _go_round(self, polygon: list[tuple[float, float]]) -> None:
        rows = np.empty(0, np.int64)
        if len(polygon) > 2:
            rows = inside(self.points, np.array(polygon))
        self.lassoed.emit(rows)


class _Box(pg.ViewBox):
    """Draws a lasso where dragging does not move the map."""

    def __init__(self, owner: Scatter) -> None:
        super().__init__()
        self.lasso = False
        self._owner = owner
        self._path: list[tuple[float, float]] = []
        self._line = pg.PlotCurveItem(pen=pg.mkPen(LASSO, width=2))
        self._line.setZValue(10)
        self.addItem(self._line, ignoreBounds=True)

    def mouseDragEvent(self, event: Any, axis: int | None = None) -> None:
        """Follow the mouse."""
        if not self.lasso or event.button() != Qt.MouseButton.LeftButton:
            super().mouseDragEvent(event, axis)
            return
        event.accept()
        if event.isStart():
            self._path = [self._at(event.buttonDownScenePos())]
        self._path.append(self._at(event.scenePos()))
        if event.isFinish():
            self._line.clear()
            self._owner._go_round(self._path)
        else:
            self._line.setData(*np.array([*self._path, self._path[0]]).T)

    def mouseClickEvent(self, event: Any) -> None:
        """Select nothing."""
        if self.lasso and event.button() == Qt.MouseButton.LeftButton:
            event.accept()
            self._owner._go_round([])

    def _at(self, place: QPointF) -> tuple[float, float]:
        point = self.mapSceneToView(place)
        return point.x(), point.y()


class _Cloud(pg.GraphicsObject):
    """Squares of one size, painted by numpy."""

    def __init__(self) -> None:
        super().__init__()
        self.lit = np.empty(0, np.int64)
        self.place(np.empty((0, 2), np.float32))

    def place(self, points: NDArray[np.float32]) -> None:
        self.prepareGeometryChange()
        self.x, self.y = (np.ascontiguousarray(column, np.float32) for column in points.T)
        self.argb = np.full(len(points), 0xFFC8CCD2, np.uint32)
        self.lit = np.empty(0, np.int64)
        self._bounds = QRectF()
        if len(points):
            low, high = points.min(axis=0).tolist(), points.max(axis=0).tolist()
            self._bounds = QRectF(QPointF(*low), QPointF(*high))
        self.update()

    def boundingRect(self) -> QRectF:
        return self._bounds

    def paint(self, painter: QPainter, _option: Any, widget: QWidget | None = None) -> None:
        transform = painter.worldTransform()  # points → pixels of the viewport
        if widget is None or not len(self.x):
            return
        ratio = widget.devicePixelRatioF()
        width, height = round(widget.width() * ratio), round(widget.height() * ratio)
        step = 2 if len(self.x) < FEW else 1
        canvas = _Canvas(width, height, step)
        column = self.x * np.float32(transform.m11() * ratio) + np.float32(transform.dx() * ratio)
        line = self.y * np.float32(transform.m22() * ratio) + np.float32(transform.dy() * ratio)
        if len(self.lit):
            canvas.put(column, line, (self.argb >> np.uint32(2)) & 0x3F3F3F | 0xFF000000)
            column, line = column[self.lit], line[self.lit]
            canvas.put(column, line, self.argb[self.lit])
        else:
            canvas.put(column, line, self.argb)
        painter.save()
        painter.resetTransform()
        painter.drawImage(QRectF(widget.rect()), canvas.image())
        painter.restore()


class _Canvas:
    """Pixels (H, W) 0xAARRGGBB to put squares of 2 step + 1 pixels on."""

    def __init__(self, width: int, height: int, step: int) -> None:
        self._width, self._height, self._step = width, height, step
        self._pixels = np.zeros(width * height, np.uint32)

    def put(
        self, column: NDArray[np.float32], line: NDArray[np.float32], argb: NDArray[np.uint32]
    ) -> None:
        """Put a square at each place that is far enough from the edge; later ones lie on top."""
        step, width = self._step, self._width
        here = (column >= step) & (column < width - step)
        here &= (line >= step) & (line < self._height - step)
        at = line[here].astype(np.int64) * width + column[here].astype(np.int64)
        argb = argb[here]
        for down in range(-step, step + 1):
            for right in range(-step, step + 1):
                self._pixels[at + (down * width + right)] = argb

    def image(self) -> QImage:
        """Return the picture; it holds on to the pixels."""
        form = QImage.Format.Format_ARGB32_Premultiplied
        image = QImage(self._pixels.data, self._width, self._height, 4 * self._width, form)
        image.pixels = self._pixels
        return image
