"""Choosing a checkpoint and where it runs, alike in all docks that run the model."""

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QFormLayout, QMenu, QPushButton, QWidget

from napari_virtues._widgets import dialogs
from napari_virtues._widgets.engine_bridge import EngineBridge
from napari_virtues._widgets.form_parts import combo_box, row
from napari_virtues.engine import Ready

CHECKPOINTS = {
    "demo": "Demo model (simulated tissue)",
    "sp31": "VirTues SP31, from the hub",
    "sp32": "VirTues SP32, from the hub",
    "imc14": "VirTues IMC14, from the hub",
}
HUB = ("sp31", "sp32", "imc14")
_TIP = 3  # Qt's role of a tool tip


class ModelFields(QWidget):
    """Rows of a form: checkpoint, device, and what a dock adds below.

    Parameters
    ----------
    bridge
        Tells which devices there are.
    tip
        What the model does here.
    """

    def __init__(self, bridge: EngineBridge, tip: str) -> None:
        super().__init__()
        self._bridge = bridge
        self.checkpoint_box = combo_box(tip)
        self.checkpoint_file = QPushButton("Open")
        self.device_box = combo_box("Where the model runs")
        self.form = QFormLayout(self)
        self.form.setContentsMargins(0, 0, 0, 0)
        self.form.setSpacing(6)
        self.form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        self.form.addRow("Checkpoint", row(self.checkpoint_box, self.checkpoint_file))
        self.form.addRow("Device", self.device_box)
        self.checkpoint_file.setMinimumWidth(76)  # room for the arrow of its menu
        self.checkpoint_file.setToolTip("Open a checkpoint's folder, or a weights file")
        menu = QMenu(self.checkpoint_file)
        menu.addAction("Folder…", lambda: dialogs.ask_folder(self, self.choose))
        menu.addAction("Weights file…", self._pick_weights)
        self.checkpoint_file.setMenu(menu)
        for name, text in CHECKPOINTS.items():
            self.checkpoint_box.addItem(text, name)
        self._list_devices()
        bridge.event.connect(self._on_event)

    @property
    def checkpoint(self) -> str:
        """Return "demo", a published variant, or the path of a folder or weights file."""
        return str(self.checkpoint_box.currentData())

    @property
    def device(self) -> str:
        """Return "auto", or what PyTorch calls it."""
        return str(self.device_box.currentText())

    def choose(self, name: str) -> None:
        """Choose a checkpoint, adding it to the list if need be."""
        index = self.checkpoint_box.findData(name)
        if index < 0:
            self.checkpoint_box.addItem(Path(name).name, name)
            index = self.checkpoint_box.count() - 1
            self.checkpoint_box.setItemData(index, name, _TIP)
        self.checkpoint_box.setCurrentIndex(index)

    def _pick_weights(self) -> None:
        dialogs.ask_open(self, "Weights of a model", dialogs.WEIGHTS, self.choose)

    def _list_devices(self) -> None:
        chosen = self.device_box.currentText()
        self.device_box.clear()
        self.device_box.addItems(["auto", *self._bridge.devices])
        self.device_box.setCurrentText(chosen or "auto")

    def _on_event(self, event: Any) -> None:
        if isinstance(event, Ready):
            self._list_devices()
