"""Asks a person what a channel measures."""

from functools import partial

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QCompleter,
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from napari_virtues._widgets.form_parts import quiet_label
from virtues_core.errors import MarkerError
from virtues_core.markers import DNA_KEY, Panel, PanelEntry, Registry
from virtues_core.markers.registry import Target, is_accession

_CHOICES = {
    "protein": "A protein",
    "dna": "DNA (nuclear stain)",
    "stain": "Another stain",
    "background": "Background or an empty channel",
    "review": "Not known yet",
}


def described(target: Target) -> str:
    """One line of the list of known proteins.

    Examples
    --------
    >>> described(Target("MS4A1", "P11836", aliases=("CD20", "L26")))
    'MS4A1 · P11836 · CD20, L26'
    """
    aliases = ", ".join(target.aliases[:6])
    return " · ".join(part for part in (target.symbol, target.accession, aliases) if part)


def looked_up(text: str, registry: Registry) -> tuple[str, str]:
    """Find the protein that a person typed.

    Parameters
    ----------
    text
        A line of the list, a symbol, an alias, or a UniProt accession.
    registry
        The known proteins.

    Returns
    -------
    tuple of str
        Accession and symbol; the symbol is empty for an accession that the registry lacks.

    Raises
    ------
    MarkerError
        It is none of these.
    """
    text = text.split(" · ", maxsplit=1)[0].strip()
    target = next(
        (t for t in registry.targets if text.upper() in (t.symbol.upper(), t.accession)), None
    )
    if target is None:
        match = registry.find(text)
        target = match.target if match else None
    if target is not None and target.accession:
        return target.accession, target.symbol
    if is_accession(text.upper()):
        return text.upper(), ""
    near = ", ".join(registry.suggest(text))
    message = f"expected a gene symbol, a common name or a UniProt accession, found {text!r}; " + (
        f"similar names: {near}" if near else "look the protein up at uniprot.org"
    )
    raise MarkerError(message)


class ProteinEditor(QDialog):
    """A small dialog: protein, stain, background or not known."""

    def __init__(
        self, panel: Panel, position: int, registry: Registry, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._panel = panel
        self._position = position
        self._registry = registry
        entry = panel.entries[position]
        self.setWindowTitle("What does this channel measure?")
        self.setMinimumWidth(380)
        self.choices = {key: QRadioButton(text) for key, text in _CHOICES.items()}
        group = QButtonGroup(self)
        self.protein = QLineEdit(described_entry(entry))
        self.stain = QLineEdit(entry.symbol if entry.status == "stain" else "")
        self.problem = QLabel()
        self.suggestions = [QPushButton(name) for name in entry.suggestions]
        self._complete()
        layout = QVBoxLayout(self)
        title = QLabel(f"<b>{entry.name or '(no name)'}</b>")
        layout.addWidget(title)
        if entry.note:
            layout.addWidget(quiet_label(entry.note))
        for key, button in self.choices.items():
            group.addButton(button)
            layout.addWidget(button)
            if key == "protein":
                layout.addLayout(self._protein_part())
            if key == "stain":
                layout.addLayout(_indented(self.stain))
        self.problem.setWordWrap(True)
        self.problem.setStyleSheet("color: #ffb74d")
        self.problem.hide()
        layout.addWidget(self.problem)
        layout.addWidget(self._buttons())
        self.choices[_choice(entry)].setChecked(True)
        self.protein.textEdited.connect(lambda: self.choices["protein"].setChecked(True))
        self.stain.textEdited.connect(lambda: self.choices["stain"].setChecked(True))

    def result_panel(self) -> Panel:
        """Return the panel with what was chosen.

        Raises
        ------
        MarkerError
            The protein is not known, or the stain has no name.
        """
        choice = next(key for key, button in self.choices.items() if button.isChecked())
        assign = partial(self._panel.assign, self._position)
        if choice == "protein":
            accession, symbol = looked_up(self.protein.text(), self._registry)
            return assign(accession=accession, symbol=symbol)
        if choice == "dna":
            return assign(accession=DNA_KEY)
        if choice == "stain":
            if not self.stain.text().strip():
                message = "expected the stain's name, found none; type it in the line below it"
                raise MarkerError(message)
            return assign(symbol=self.stain.text().strip(), status="stain")
        return (
            assign(symbol="background", status="background") if choice == "background" else assign()
        )

    def accept(self) -> None:
        """Close when the answer can be used; else say in the dialog what is wrong."""
        try:
            self.result_panel()
        except MarkerError as error:
            self.problem.setText(str(error))
            self.problem.show()
            return
        super().accept()

    def _complete(self) -> None:
        lines = [described(t) for t in self._registry.targets if t.accession]
        completer = QCompleter(sorted(lines, key=str.lower), self)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        self.protein.setCompleter(completer)
        self.protein.setPlaceholderText("Symbol, name or UniProt accession, e.g. CD8A or P01732")
        self.stain.setPlaceholderText("The stain's name, e.g. eosin")

    def _protein_part(self) -> QVBoxLayout:
        part = QVBoxLayout()
        part.addLayout(_indented(self.protein))
        if self.suggestions:
            row = QHBoxLayout()
            row.setContentsMargins(22, 0, 0, 0)
            row.addWidget(quiet_label("Similar names:"))
            for button in self.suggestions:
                button.setAutoDefault(False)
                button.clicked.connect(partial(self._take, button.text()))
                row.addWidget(button)
            row.addStretch()
            part.addLayout(row)
        return part

    def _take(self, symbol: str) -> None:
        self.choices["protein"].setChecked(True)
        target = next(t for t in self._registry.targets if t.symbol == symbol)
        self.protein.setText(described(target))

    def _buttons(self) -> QDialogButtonBox:
        kinds = QDialogButtonBox.StandardButton
        buttons = QDialogButtonBox(kinds.Ok | kinds.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        return buttons


def described_entry(entry: PanelEntry) -> str:
    """Text that the line of the protein begins with."""
    if entry.status != "resolved":
        return ""
    return f"{entry.symbol} · {entry.accession}"


def _choice(entry: PanelEntry) -> str:
    if entry.key == DNA_KEY:
        return "dna"
    return "protein" if entry.status in ("resolved", "review") else entry.status


def _indented(widget: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setContentsMargins(22, 0, 0, 0)
    row.addWidget(widget)
    return row
