"""A list of files and folders."""

from collections.abc import Iterable
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QListWidget, QListWidgetItem

_PATH = Qt.ItemDataRole.UserRole


class PathList(QListWidget):
    """Shows names, each path once; the whole path is the tool tip."""

    def __init__(self, tip: str, height_px: int) -> None:
        super().__init__()
        self.setToolTip(tip)
        self.setFixedHeight(height_px)

    @property
    def paths(self) -> tuple[Path, ...]:
        """What is listed, in its order."""
        return tuple(Path(self.item(i).data(_PATH)) for i in range(self.count()))

    def add(self, paths: Iterable[str | Path]) -> None:
        """List these too."""
        for path in map(Path, paths):
            if path not in self.paths:
                item = QListWidgetItem(path.name)
                item.setData(_PATH, str(path))
                item.setToolTip(str(path))
                self.addItem(item)
