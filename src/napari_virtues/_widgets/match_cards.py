"""A tissue as a card: its picture, what is known of it, what it is composed of."""

import html
from collections.abc import Iterable, Mapping
from typing import Any

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtGui import QColor, QImage, QPainter, QPixmap
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_virtues._widgets.form_parts import quiet_label

PICTURE = 112
"""Side of a thumbnail, in px of the screen."""
MOST_VALUES = 8
"""Clinical values on a card; its tip has all."""


class CompositionBar(QWidget):
    """Shares of cell types as one bar; the tip tells them in numbers.

    Parameters
    ----------
    shares
        Type → share of the cells.
    colors
        Type → ``#rrggbb``.
    """

    def __init__(self, shares: Mapping[str, float], colors: Mapping[str, str]) -> None:
        super().__init__()
        self.parts = [(colors[name], shares[name]) for name in colors if shares.get(name)]
        self.setFixedHeight(12)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        listed = sorted(shares.items(), key=lambda item: -item[1])
        self.setToolTip(_tip(f"{name}: {share:.1%}" for name, share in listed))

    def paintEvent(self, _: Any) -> None:
        """Draw the parts from left to right."""
        painter = QPainter(self)
        left, total = 0.0, sum(share for _, share in self.parts)
        for color, share in self.parts:
            width = self.width() * share / total
            painter.fillRect(QRectF(left, 0, width, self.height()), QColor(color))
            left += width
        painter.end()


class TissueCard(QFrame):
    """What is known of one tissue; a click asks for it.

    Parameters
    ----------
    title
        Its name, and how far it is.
    picture
        Its thumbnail; None where there is none.
    known
        Clinical column → value.
    bar
        Its composition; None where it is not known.
    """

    asked = QtSignal()
    """It was clicked."""

    def __init__(
        self,
        title: str,
        picture: QImage | None,
        known: Mapping[str, object],
        bar: CompositionBar | None,
    ) -> None:
        super().__init__()
        self.title = QLabel(title)
        self.title.setTextFormat(Qt.TextFormat.PlainText)
        self.title.setWordWrap(True)
        self.title.setStyleSheet("font-weight: bold")
        self.picture = QLabel()
        self.picture.setFixedSize(QSize(PICTURE, PICTURE))
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.known = quiet_label()
        self.known.setTextFormat(Qt.TextFormat.PlainText)
        self.bar = bar
        self._fill(picture, [f"{column} {value}" for column, value in known.items()])
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def mouseReleaseEvent(self, event: Any) -> None:
        """Ask for the tissue."""
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.pos()):
            self.asked.emit()

    def _fill(self, picture: QImage | None, lines: list[str]) -> None:
        if picture is None:
            self.picture.setText("no picture")
        else:
            kept = Qt.AspectRatioMode.KeepAspectRatio
            smooth = Qt.TransformationMode.SmoothTransformation
            self.picture.setPixmap(
                QPixmap.fromImage(picture.scaled(PICTURE, PICTURE, kept, smooth))
            )
        more = ["…"] if len(lines) > MOST_VALUES else []
        self.known.setText(" · ".join(lines[:MOST_VALUES] + more))
        self.setToolTip(_tip(["Click to open this tissue's image", *lines]))
        text = QVBoxLayout()
        text.setSpacing(4)
        text.addWidget(self.title)
        text.addWidget(self.known)
        text.addStretch(1)
        if self.bar is not None:
            text.addWidget(self.bar)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self.picture)
        layout.addLayout(text, 1)


def _tip(lines: Iterable[str]) -> str:
    """Write a tip of several lines, in which nothing is taken for HTML."""
    return f"<qt>{'<br>'.join(html.escape(line) for line in lines)}</qt>"
