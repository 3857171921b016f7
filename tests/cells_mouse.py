"""A person at the Cells dock: buttons and cells in the image, by mouse."""

import numpy as np
from qtpy.QtCore import QPoint, Qt

from napari_virtues._widgets.type_table import NAME


def press(qtbot, dock, button):
    """Click a button, once it is seen."""
    dock.ensureWidgetVisible(button)
    qtbot.wait(20)
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def on_canvas(viewer, y, x):
    """Where a place (world coordinates) is on the canvas."""
    height, width = viewer.canvas.size
    _, at_y, at_x = viewer.scene.camera.center
    zoom = viewer.scene.camera.zoom
    return QPoint(round(width / 2 + (x - at_x) * zoom), round(height / 2 + (y - at_y) * zoom))


def click_image(viewer, qtbot, y, x):
    """Click at a place (world coordinates)."""
    native = viewer.window._qt_viewer.canvas.native
    where = on_canvas(viewer, y, x)
    assert native.rect().contains(where)
    qtbot.mouseMove(native, where)
    qtbot.mouseClick(native, Qt.MouseButton.LeftButton, pos=where)
    qtbot.wait(60)


def inside(labels, label):
    """Give a pixel (y, x) well within a cell."""
    y, x = np.nonzero(labels == label)
    nearest = np.argmin((y - y.mean()) ** 2 + (x - x.mean()) ** 2)
    return int(y[nearest]), int(x[nearest])


def choose(qtbot, dock, name):
    """Choose a type in the table."""
    box = dock.table.visualItemRect(dock.table.item(dock.table.names.index(name), NAME))
    qtbot.mouseClick(dock.table.viewport(), Qt.MouseButton.LeftButton, pos=box.center())
    assert dock.table.chosen == name


def column(dock, number):
    """Read a column of the table: name of a type → number; -1 where there is none."""
    return {
        name: int(dock.table.item(row, number).text().replace(",", "") or -1)
        for row, name in enumerate(dock.table.names)
    }
