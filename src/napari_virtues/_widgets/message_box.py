"""A message in a dock: what went wrong, or what to mind."""

from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QWidget

_COLORS = {"error": "#d9534f", "warning": "#c98a2b", "note": "#5a6472"}


class MessageBox(QLabel):
    """Text with a coloured edge, hidden while there is nothing to say; can be selected."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.hide()

    def say(self, lines: str | Sequence[str], kind: str = "error") -> None:
        """Show one message, or several below each other; nothing hides the box.

        Parameters
        ----------
        lines
            What to say.
        kind
            "error", "warning" or "note".
        """
        text = lines if isinstance(lines, str) else "\n".join(f"• {line}" for line in lines)
        self.setText(text)
        self.setStyleSheet(
            f"border: none; border-left: 3px solid {_COLORS[kind]}; padding: 4px 8px"
        )
        self.setVisible(bool(text))
