"""Spin boxes for the numbers of an `InpaintRequest`, made from its fields and their defaults."""

from dataclasses import fields
from typing import Any

from qtpy.QtWidgets import QFormLayout, QSpinBox, QWidget

from virtues_core.infer import InpaintRequest

LABELS = {
    "repeats": ("Repeats", "Visible subsets that the uncertainty is the spread over", 1, 64),
    "stride_px": ("Stride", "Pixels from tile to tile; smaller is smoother and slower", 8, 128),
    "batch_size": ("Batch", "Tiles at once; smaller needs less memory", 1, 512),
    "seed": ("Seed", "The same seed hides and draws the same patches", 0, 2**31 - 1),
}
"""Label, tip and range of each number; its default is the field's."""


class RequestFields(QWidget):
    """The numbers of a request."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        self.boxes: dict[str, QSpinBox] = {}
        for field in fields(InpaintRequest):
            if field.name not in LABELS:
                continue
            label, tip, low, high = LABELS[field.name]
            box = QSpinBox()
            box.setRange(low, high)
            box.setValue(field.default)
            box.setToolTip(tip)
            if field.name == "stride_px":
                box.setSuffix(" px")
                box.setSingleStep(8)
            form.addRow(label, box)
            self.boxes[field.name] = box

    @property
    def values(self) -> dict[str, Any]:
        """Field name → number."""
        return {name: box.value() for name, box in self.boxes.items()}
