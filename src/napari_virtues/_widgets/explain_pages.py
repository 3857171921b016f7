"""Pages of the *Attention* dock: a point that is clicked, and the label of a tissue."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from napari_virtues._widgets import dialogs
from napari_virtues._widgets.cell_clicks import CellClicks
from napari_virtues._widgets.form_parts import CHECKED, combo_box, heading, quiet_label, row
from napari_virtues._widgets.importance_table import ImportanceTable
from napari_virtues._widgets.message_box import MessageBox

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_virtues.engine.explain_jobs import LabelExplained, PointExplained


def column_of(widget: QWidget) -> QVBoxLayout:
    """Give a widget a column without margins."""
    column = QVBoxLayout(widget)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(6)
    return column


class PointPage(QWidget):
    """Picks a place in the image, and shows what counts there."""

    def __init__(self, viewer: "ViewerModel") -> None:
        super().__init__()
        self.pick = QPushButton("Pick in the image")
        self.pick.setCheckable(True)
        self.pick.setStyleSheet(CHECKED)
        self.pick.setToolTip("While it is down, a click in the image chooses the place")
        self.clicks = CellClicks(viewer, self)
        self.place = quiet_label("No place is picked.")
        self.point: tuple[int, int] | None = None
        """(y, x) px."""
        column = column_of(self)
        column.addWidget(heading("Place"))
        column.addLayout(row(self.pick, self.place))
        self.results = QWidget()
        self.table = ImportanceTable()
        self.warnings = MessageBox()
        results = column_of(self.results)
        results.addWidget(heading("What counts there"))
        results.addWidget(
            quiet_label(
                "Token: how far the place's token moves when the marker is hidden, as a share of "
                "its length. Rollout: the marker's share of the attention followed back."
            )
        )
        results.addWidget(self.table)
        results.addWidget(self.warnings)
        self.results.hide()
        self.pick.toggled.connect(self._listen)

    def choose(self, point: tuple[int, int] | None) -> None:
        """Take a place (y, x) px, or none."""
        self.point = point
        said = "No place is picked." if point is None else "y {}, x {} px".format(*point)
        self.place.setText(said)

    def show_result(self, found: "PointExplained") -> None:
        """Show the markers of a place, the one that its token needs most first."""
        self.warnings.say(found.warnings, "warning")
        self.table.show_scores(
            found.channels,
            {"Token": found.token_change, "Rollout": found.rollout},
            "{:.3f}",
        )
        self.results.show()

    def _listen(self, on: bool) -> None:  # noqa: FBT001 - Qt's
        self.clicks.on = on


class LabelPage(QWidget):
    """Chooses a model of a label, and shows what it says of the tissue."""

    def __init__(self) -> None:
        super().__init__()
        self.box = combo_box("A folder of virtues train-label: a model fine-tuned for a label")
        self.open_button = QPushButton("Folder…")
        self.within = combo_box("Whose summary token is followed to its patches")
        column = column_of(self)
        column.addWidget(heading("Model of a label"))
        column.addLayout(row(self.box, self.open_button))
        column.addLayout(row(QLabel("Attention within"), self.within))
        self.list_markers(())
        self.results = QWidget()
        self.title = heading("")
        self.said = QLabel()
        self.told = quiet_label()
        self.warnings = MessageBox()
        results = column_of(self.results)
        for widget in (self.title, self.said, self.told, self.warnings):
            results.addWidget(widget)
        self.results.hide()
        self.open_button.clicked.connect(lambda: dialogs.ask_folder(self, self.choose))

    @property
    def folder(self) -> str | None:
        """The chosen folder."""
        return self.box.currentData()

    @property
    def marker(self) -> str | None:
        """The marker within whose channel attention is followed; None for the patch summary."""
        return self.within.currentData()

    def list_markers(self, names: Iterable[str]) -> None:
        """Offer the patch summary and these markers; what was chosen stays where it is there."""
        chosen = self.within.currentText()
        self.within.clear()
        self.within.addItem("patch summary (all markers)", None)
        for name in names:
            self.within.addItem(name, name)
        self.within.setCurrentIndex(max(0, self.within.findText(chosen)))

    def choose(self, folder: Path | str) -> None:
        """Choose a folder, adding it to the list if need be."""
        index = self.box.findData(str(folder))
        if index < 0:
            self.box.addItem(Path(folder).name, str(folder))
            index = self.box.count() - 1
        self.box.setCurrentIndex(index)

    def show_result(self, found: "LabelExplained") -> None:
        """Show each class with its probability and how tiles differ, the most probable first."""
        self.title.setText(f"{found.label}, as the model tells it")
        ranked = sorted(found.rows, key=lambda row: -row[1])
        self.said.setText(
            "\n".join(
                f"{name}: {probability:.2f}  (most tiles: {low:.2f} to {high:.2f})"
                for name, probability, low, high in ranked
            )
        )
        self.told.setText(
            f"This model, {found.told}. The layer shows where it attended, 1 being as if to all "
            "places alike; that need not be where the evidence is."
        )
        self.warnings.say(found.warnings, "warning")
        self.results.show()
