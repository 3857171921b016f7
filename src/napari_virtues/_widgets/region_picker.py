"""Choosing a region: a layer of the window, or a mask file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QPushButton, QWidget

from napari_virtues._widgets import dialogs
from napari_virtues._widgets.form_parts import combo_box, row
from napari_virtues._widgets.listening import listen
from napari_virtues.inpaint_intent import RegionSource, region_sources

if TYPE_CHECKING:
    from napari.components import ViewerModel


class RegionPicker(QWidget):
    """The Labels and Shapes layers of a window, and mask files that were chosen.

    Parameters
    ----------
    viewer
        Whose layers are listed.
    tip, file_tip
        What a layer, and a mask file, stand for.
    without
        Name of the choice of no region, where that is one.
    """

    def __init__(
        self, viewer: "ViewerModel", tip: str, file_tip: str, without: str | None = None
    ) -> None:
        super().__init__()
        self._viewer = viewer
        self._without = without
        self.box = combo_box(tip)
        self.file_button = QPushButton("Mask file…")
        self.file_button.setToolTip(file_tip)
        layout = row(self.box, self.file_button)
        layout.setContentsMargins(0, 0, 0, 0)
        self.setLayout(layout)
        self.file_button.clicked.connect(
            lambda: dialogs.ask_open(self, "Mask of regions", dialogs.MASKS, self.choose_file)
        )
        layers = viewer.layers.events
        listen(self, (layers.inserted, self._list), (layers.removed, self._list))
        self._list()

    @property
    def source(self) -> RegionSource | None:
        """The chosen region, with what its layer holds now; None where none is."""
        source = self.box.currentData()
        return source.frozen() if isinstance(source, RegionSource) else None

    def choose_file(self, path: Path | str) -> None:
        """Take the region from a mask file."""
        source = RegionSource(path=Path(path))
        self.box.addItem(source.name, source)
        self.box.setCurrentIndex(self.box.count() - 1)

    def _list(self, *_: Any) -> None:
        chosen = self.box.currentText()
        listed = [self.box.itemData(i) for i in range(self.box.count())]
        files = [source for source in listed if source is not None and source.path is not None]
        self.box.clear()
        if self._without is not None:
            self.box.addItem(self._without)
        for source in (*region_sources(self._viewer), *files):
            self.box.addItem(source.name, source)
        self.box.setCurrentIndex(max(0, self.box.findText(chosen)))
