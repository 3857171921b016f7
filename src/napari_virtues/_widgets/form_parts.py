"""What the docks' forms are built from, so that they look alike."""

from collections.abc import Iterable

from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QWidget,
)

QUIET = "color: #8a9099"
"""Style of what is good to know but asks for nothing."""
EDGE = "#7d8590"
"""Colour around a box that is not ticked."""
CHECKED = "QPushButton:checked { background: #4a6bff; color: white }"
"""Style of a button that stays down."""


def heading(text: str) -> QLabel:
    """Make the title of a section."""
    label = QLabel(text)
    label.setStyleSheet("font-weight: bold; margin-top: 4px")
    return label


def quiet_label(text: str = "") -> QLabel:
    """Make a label for what is good to know but asks for nothing."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setStyleSheet(QUIET)
    return label


def combo_box(tip: str) -> QComboBox:
    """Make a combo box that yields to narrow docks."""
    box = QComboBox()
    box.setToolTip(tip)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return box


def row(*widgets: QWidget | None) -> QHBoxLayout:
    """Put widgets side by side; None is a space that stretches."""
    layout = QHBoxLayout()
    layout.setSpacing(6)
    for widget in widgets:
        if widget is None:
            layout.addStretch()
        else:
            layout.addWidget(widget)
    return layout


def toggles(group: QButtonGroup, choices: Iterable[tuple[str, str]]) -> QHBoxLayout:
    """Make a button for each (name, tip), numbered from 0, of which one is down: the first."""
    buttons = []
    for number, (name, tip) in enumerate(choices):
        button = QPushButton(name)
        button.setCheckable(True)
        button.setToolTip(tip)
        button.setStyleSheet(CHECKED)
        group.addButton(button, number)
        buttons.append(button)
    buttons[0].setChecked(True)
    return row(*buttons)


def line_up(form: QFormLayout, width: int) -> None:
    """Give labels one width (px), so that forms below each other look like one."""
    for number in range(form.rowCount()):
        item = form.itemAt(number, QFormLayout.ItemRole.LabelRole)
        if item is not None:
            item.widget().setMinimumWidth(width)
