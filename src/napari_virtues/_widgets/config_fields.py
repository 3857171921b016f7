"""Fields of a form for each field of a config class: names, defaults and tips are the class's."""

import ast
import inspect
import json
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from itertools import pairwise
from typing import Any, Literal, get_args, get_origin, get_type_hints

from qtpy.QtCore import Signal as QtSignal
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QLineEdit, QWidget

from napari_virtues._widgets.form_parts import combo_box, heading
from virtues_core.errors import ConfigError

_TERMS = {
    "tumour": "Tumour cells",
    "cd4": "CD4 T cells",
    "cd8": "CD8 T cells",
    "b": "B cells",
    "by": "By column",
    "each": "Signatures",
    "most_cells": "Cells at most",
}
"""Names of fields that say too little, as people say them."""


class ConfigFields(QWidget):
    """An editor for each field; a dataclass within the class becomes a section of its own.

    What can be chosen and which numbers are allowed is for the class to say: it checks itself when
    it is made of the `values`.

    Parameters
    ----------
    config
        What is shown first.
    only
        Names of the fields that are shown, all where none is given.
    without
        Names of fields that are not.
    """

    changed = QtSignal()
    """A person changed a value."""

    def __init__(
        self, config: Any, *, only: tuple[str, ...] = (), without: tuple[str, ...] = ()
    ) -> None:
        super().__init__()
        self._class = type(config)
        self._editors: dict[str, QWidget] = {}
        self._kinds: dict[str, Any] = {}
        self.sections: dict[str, ConfigFields] = {}
        """Those of the fields that are dataclasses themselves."""
        self._titles: dict[str, QWidget] = {}
        self.form = QFormLayout(self)
        self.form.setContentsMargins(0, 0, 0, 0)
        self.form.setSpacing(5)
        self.form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        hints, tips = get_type_hints(self._class), field_docs(self._class)
        names = [f.name for f in fields(config) if f.name not in without]
        names = [name for name in names if not only or name in only]
        for name in sorted(names, key=lambda n: is_dataclass(getattr(config, n))):  # sections last
            value, tip = getattr(config, name), tips.get(name, "")
            if is_dataclass(value):
                self._add_section(name, value, tip)
            else:
                self._add(name, hints[name], tip)
        self.show_config(config)

    @property
    def values(self) -> dict[str, Any]:
        """Field name → plain value, those of sections in tables of their own.

        Raises
        ------
        ConfigError
            What was typed cannot be read.
        """
        own = {name: self._read(name) for name in self._editors}
        return own | {name: section.values for name, section in self.sections.items()}

    def show_config(self, config: Any) -> None:
        """Show the values of another config of the same class."""
        values = asdict(config) if is_dataclass(config) else config
        for name, editor in self._editors.items():
            _put(editor, values[name], self._kinds[name])
        for name, section in self.sections.items():
            section.show_config(values[name])

    def editor(self, name: str) -> Any:
        """Return the widget of a field; ``model.num_heads`` is one of a section."""
        section, _, rest = name.partition(".")
        return self.sections[section].editor(rest) if rest else self._editors[name]

    def show_section(self, name: str, *, visible: bool) -> None:
        """Show or hide a section with its title."""
        self._titles[name].setVisible(visible)
        self.sections[name].setVisible(visible)

    def _add_section(self, name: str, value: Any, tip: str) -> None:
        title = heading(in_words(name))
        title.setToolTip(one_line(tip))
        section = ConfigFields(value)
        section.changed.connect(self.changed)
        self.sections[name], self._titles[name] = section, title
        self.form.addRow(title)
        self.form.addRow(section)

    def _add(self, name: str, kind: Any, tip: str) -> None:
        self._kinds[name] = kind
        editor = self._made(kind)
        editor.setToolTip(one_line(tip))
        self._editors[name] = editor
        self.form.addRow(in_words(name), editor)
        self.form.labelForField(editor).setToolTip(one_line(tip))

    def _made(self, kind: Any) -> QWidget:
        if get_origin(kind) is Literal:
            box = combo_box("")
            for choice in get_args(kind):
                box.addItem(str(choice), choice)
            box.activated.connect(lambda _: self.changed.emit())
            return box
        if kind is bool:
            tick = QCheckBox()
            tick.clicked.connect(lambda _: self.changed.emit())
            return tick
        line = QLineEdit()
        nothing = {type(None), ...} & set(get_args(kind))
        line.setPlaceholderText("none" if nothing else "")
        line.editingFinished.connect(self._on_typed)
        return line

    def _on_typed(self) -> None:
        line = self.sender()
        if isinstance(line, QLineEdit) and line.isModified():
            line.setModified(False)
            self.changed.emit()

    def _read(self, name: str) -> Any:
        editor = self._editors[name]
        if isinstance(editor, QComboBox):
            return editor.currentData()
        if isinstance(editor, QCheckBox):
            return editor.isChecked()
        return value_of(editor.text(), self._kinds[name], name)


def value_of(text: str, kind: Any, name: str) -> Any:
    """Read what was typed into a field.

    Raises
    ------
    ConfigError
        It is nothing where something is needed, or no list of numbers where one is needed.

    Examples
    --------
    >>> value_of("2e-4", float, "rate"), value_of("", int | None, "steps")
    (0.0002, None)
    >>> value_of("0.6, 1", tuple[float, float], "ratio"), value_of("hv", str, "pattern")
    ((0.6, 1), 'hv')
    >>> value_of("", tuple[int, ...], "groups"), value_of("B, T", tuple[str, ...], "types")
    ((), ('B', 'T'))
    """
    text = text.strip()
    if kind is str:
        return text
    listed = get_origin(kind) is tuple and get_args(kind)[-1] is ...
    if listed and (not text or get_args(kind)[0] is str):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if not text:
        if type(None) in get_args(kind):
            return None
        message = f"{name}: expected a value, found nothing. Type one."
        raise ConfigError(message)
    if get_origin(kind) is tuple:
        values = _plain(f"[{text.strip('[]()')}]")
        if not isinstance(values, list):
            message = f"{name}: expected numbers with commas between them, found {text!r}."
            raise ConfigError(message)
        return tuple(values)
    return _plain(text)


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # a word: the class says whether it knows it


def _put(editor: QWidget, value: Any, kind: Any) -> None:
    if isinstance(editor, QComboBox):
        editor.setCurrentIndex(editor.findData(value))
    elif isinstance(editor, QCheckBox):
        editor.setChecked(value)
    elif isinstance(editor, QLineEdit):
        editor.setText(_text(value))
        editor.setCursorPosition(0)
        editor.setModified(False)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, Mapping):
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def field_docs(config_class: type[Any]) -> dict[str, str]:
    """Return the docstring under each field of a class; none where its source is not at hand."""
    try:
        source = textwrap.dedent(inspect.getsource(config_class))
    except OSError:
        return {}
    found = {}
    (definition,) = ast.parse(source).body
    for node, below in pairwise(getattr(definition, "body", ())):
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            found[node.target.id] = inspect.cleandoc(str(below.value.value))
    return found


def in_words(name: str) -> str:
    """Name a field for people.

    Examples
    --------
    >>> in_words("crop_px"), in_words("cd4")
    ('Crop (px)', 'CD4 T cells')
    """
    if name in _TERMS:
        return _TERMS[name]
    words = name.split("_")
    units = {"px": " (px)", "s": " (s)", "gb": " (GB)", "um": " (µm)"}
    unit = units.get(words[-1], "") if len(words) > 1 else ""
    return " ".join(words[:-1] if unit else words).capitalize() + unit


def one_line(text: str) -> str:
    """Unwrap a docstring, without the marks of code."""
    return " ".join(text.replace("``", "").split())
