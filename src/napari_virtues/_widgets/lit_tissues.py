"""The tissues of what was clicked in a result; one opens in the viewer with its cells lit."""

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QPushButton, QVBoxLayout, QWidget

from napari_virtues._widgets.form_parts import heading, quiet_label, row
from napari_virtues._widgets.message_box import MessageBox
from napari_virtues.lit_cells import Lit, LitTissue

MOST_LISTED = 500
"""Tissues that are listed, those with most lit cells."""
_TISSUE = Qt.ItemDataRole.UserRole


class LitTissues(QWidget):
    """Lists tissues, and says which shall open."""

    chosen = QtSignal(str)
    """A tissue that shall open."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.lit: Lit | None = None
        self.title = heading("")
        self.status = quiet_label()
        self.list = QListWidget()
        self.previous_button = QPushButton("Previous")
        self.next_button = QPushButton("Next")
        self.folder_button = QPushButton("Images in…")
        self.message = MessageBox()
        self._describe()
        self._lay_out()
        self.list.itemSelectionChanged.connect(self._on_chosen)
        self.previous_button.clicked.connect(lambda: self.go(-1))
        self.next_button.clicked.connect(lambda: self.go(1))
        self.hide()

    @property
    def tissue(self) -> str | None:
        """The tissue that is chosen."""
        item = self.list.currentItem()
        return None if item is None else str(item.data(_TISSUE))

    def show_lit(self, lit: Lit | None) -> None:
        """List the tissues of what was clicked, and choose the first; None lists nothing."""
        self.lit = lit
        self.setVisible(lit is not None)
        self.message.say("")
        with QSignalBlocker(self.list):
            self.list.clear()
        if lit is not None:
            with QSignalBlocker(self.list):
                for tissue in lit.tissues[:MOST_LISTED]:
                    item = QListWidgetItem(_in_words(tissue, lit.unit))
                    item.setData(_TISSUE, tissue.tissue_id)
                    self.list.addItem(item)
            self.title.setText(lit.title.capitalize() if lit.title.islower() else lit.title)
            self.say_open(0)
            self.go(0)

    def go(self, step: int) -> None:
        """Choose the tissue so many rows further."""
        row_number = min(max(self.list.currentRow(), 0) + step, self.list.count() - 1)
        if row_number >= 0:
            self.list.setCurrentRow(row_number)

    def say_open(self, count: int) -> None:
        """Say how many tissues there are, and how many of them are open."""
        if self.lit is None:
            return
        tissues, patients = len(self.lit.tissues), self.lit.patients
        parts = [_counted(tissues, "tissue")]
        if patients:
            parts[0] += f" of {_counted(patients, 'patient')}"
        if self.lit.path is not None:
            parts.append(f"{self.lit.cells:,} {self.lit.unit} lit")
        if tissues > MOST_LISTED:
            parts.append(f"the first {MOST_LISTED} are listed")
        if count:
            parts.append(f"{count} open here")
        self.status.setText(" · ".join(parts))

    def _on_chosen(self) -> None:
        at = self.list.currentRow()
        self.previous_button.setEnabled(at > 0)
        self.next_button.setEnabled(0 <= at < self.list.count() - 1)
        if self.tissue is not None:
            self.message.say("")
            self.chosen.emit(self.tissue)

    def _describe(self) -> None:
        self.list.setFixedHeight(110)
        self.list.setToolTip("A click opens the tissue with these cells lit")
        self.folder_button.setToolTip(
            "Where images and masks lie: a spora data set, or files called as the tissues"
        )

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for widget in (self.title, self.status, self.list, self.message):
            layout.addWidget(widget)
        layout.addLayout(row(self.previous_button, self.next_button, self.folder_button))


def _in_words(tissue: LitTissue, unit: str) -> str:
    parts = [tissue.tissue_id]
    if tissue.patient_id:
        parts.append(f"patient {tissue.patient_id}")
    if tissue.cells:
        parts.append(f"{tissue.lit:,} of {tissue.cells:,} {unit}")
    return " · ".join(parts)


def _counted(number: int, what: str) -> str:
    """Write a number of things.

    Examples
    --------
    >>> _counted(1, "tissue"), _counted(1200, "tissue")
    ('1 tissue', '1,200 tissues')
    """
    return f"{number:,} {what}{'s' * (number != 1)}"
