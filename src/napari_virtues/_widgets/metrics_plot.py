"""Curves of a training: loss, learning rate, throughput, as they grow."""

import math
from collections.abc import Mapping

import pyqtgraph as pg
from qtpy.QtCore import QSignalBlocker, QSize
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_virtues._widgets.form_parts import combo_box, quiet_label
from napari_virtues.job_files import Metrics

CURVES = {
    "Loss": ("loss", "val_loss"),
    "Learning rate": ("learning_rate",),
    "Crops per second": ("crops_per_s",),
    "Share of time waiting for data": ("data_wait",),
}
"""What can be shown → columns of ``metrics.csv``."""
NAMES = {"loss": "training", "val_loss": "validation"}
Points = tuple[list[float], list[float]]
"""Steps, and a value at each."""
COLORS = ("#7aa2ff", "#ffb454")
NOTHING = "No metrics yet."
_NOT_SHOWN = {"step", "samples", "minutes"}


class MetricsPlot(QWidget):
    """One kind of curve at a time over optimiser steps, and the newest numbers above."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.box = combo_box("What is shown over the steps")
        self.latest = quiet_label(NOTHING)
        self.plot = pg.PlotWidget(background=None)
        self.plot.setMenuEnabled(False)
        self.plot.hideButtons()
        self.plot.setDownsampling(auto=True, mode="peak")
        self.plot.showGrid(x=True, y=True, alpha=0.2)
        self.plot.setLabel("bottom", "step")
        self.plot.getAxis("left").enableAutoSIPrefix(enable=False)
        self.plot.getAxis("bottom").enableAutoSIPrefix(enable=False)
        self.plot.addLegend(offset=(-8, 8))
        self.metrics = Metrics()
        """What is shown."""
        self.curves: dict[str, pg.PlotDataItem] = {}
        """Column → its curve."""
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.box)
        layout.addWidget(self.latest)
        layout.addWidget(self.plot)
        self.box.currentIndexChanged.connect(self._draw)
        self._list_kinds()

    def sizeHint(self) -> QSize:
        """Leave room for what is beside it."""
        return QSize(360, 220)

    def show_metrics(self, metrics: Metrics) -> None:
        """Show these numbers instead of the last."""
        kinds = _kinds(self.metrics)
        self.metrics = metrics
        if _kinds(metrics) != kinds:
            self._list_kinds()
        self._draw()

    def _list_kinds(self) -> None:
        chosen = self.box.currentText()
        blocker = QSignalBlocker(self.box)
        self.box.clear()
        for title, columns in _kinds(self.metrics).items():
            self.box.addItem(title, columns)
        self.box.setCurrentIndex(max(0, self.box.findText(chosen)))
        self.box.setVisible(self.box.count() > 0)
        blocker.unblock()

    def _draw(self, *_: int) -> None:
        columns: tuple[str, ...] = self.box.currentData() or ()
        points = {name: _points(self.metrics, name) for name in columns}
        for name in [name for name in self.curves if not points.get(name, ((), ()))[0]]:
            self.plot.removeItem(self.curves.pop(name))
        for color, (name, (steps, values)) in zip(COLORS, points.items(), strict=False):
            if steps and name not in self.curves:
                pen = pg.mkPen(color, width=2)
                self.curves[name] = self.plot.plot(pen=pen, name=NAMES.get(name, name))
            if steps:
                self.curves[name].setData(steps, values)
        self.plot.setVisible(bool(columns))
        self.latest.setText(_latest(self.metrics, points))


def _kinds(metrics: Metrics) -> dict[str, tuple[str, ...]]:
    """Return what can be shown of a table, other columns by their own names."""
    kinds = {
        title: tuple(name for name in names if name in metrics.columns)
        for title, names in CURVES.items()
    }
    known = {name for names in CURVES.values() for name in names} | _NOT_SHOWN
    others = {name: (name,) for name in metrics.columns if name not in known}
    return {title: names for title, names in (kinds | others).items() if names}


def _points(metrics: Metrics, name: str) -> Points:
    """Return (step, value) where there is a value."""
    pairs = zip(metrics.steps, metrics.columns[name], strict=True)
    kept = [(step, value) for step, value in pairs if math.isfinite(value)]
    return [step for step, _ in kept], [value for _, value in kept]


def _latest(metrics: Metrics, points: Mapping[str, Points]) -> str:
    """Write the newest number of each curve."""
    if not metrics.steps:
        return NOTHING
    parts = [f"step {metrics.steps[-1]:,.0f}"]
    for name, (_, values) in points.items():
        if values:
            parts.append(f"{NAMES.get(name, '')} {values[-1]:.4g}".strip())
    return " · ".join(parts)
