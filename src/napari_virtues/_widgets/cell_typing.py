"""Typing cells: clicks in the image, all cells typed from them, and those to click next."""

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject
from qtpy.QtCore import Signal as QtSignal

from napari_virtues._widgets.background import attempt
from napari_virtues._widgets.cell_clicks import CellClicks
from napari_virtues._widgets.turns import Steps, Turns
from napari_virtues.cells_layers import (
    UNSURE_COLOR,
    Cells,
    TypedView,
    legend,
    marks_layer,
    new_marks_layer,
    new_types_layer,
    outline,
    show_marks,
    type_colormap,
    types_layer,
)
from napari_virtues.cells_typed import Outcome, shown, typed_by_clicks
from napari_virtues.engine import CellTypes
from virtues_core.cohort import UNSURE, TokenSpace
from virtues_core.errors import InputError, VirtuesError

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_virtues._widgets.cells_form import CellsForm

ACROSS = {"cell": 25, "niche": 5}
"""How many the window shows side by side where it goes to one of them."""


class CellTyping(QObject):
    """What is clicked and typed among the cells of one image."""

    typed = QtSignal()
    """All cells have types, and the layer shows them."""

    def __init__(self, viewer: "ViewerModel", form: "CellsForm") -> None:
        super().__init__(form)
        self._viewer = viewer
        self._form = form
        self._clicks = CellClicks(viewer, form)
        self._turns = Turns(form)
        """For the layer of types."""
        self._marking = Turns(form)
        """For that of clicked cells, so that a click does not cut short the showing of types."""
        self._covered: list[Any] = []
        """Layers that were put in and are still to be shown."""
        self._cells: Cells | None = None
        self._space: TokenSpace | None = None
        self._turn = 0
        self._offers: list[int] = []
        self.offered: int | None = None
        """Row of the cell that a person is asked about."""
        self.clicked: dict[int, str] = {}
        """Row of each clicked cell → its type."""
        self.types: CellTypes | None = None
        """What all cells are; None until they are typed."""
        self.view: TypedView | None = None
        """How that is shown."""
        self._connect()

    def begin(self, cells: Cells) -> None:
        """Take other cells; what was clicked among the last ones is let go.

        Where only their tokens are others, clicks and types stay.
        """
        last, same = self._cells, cells.same_as(self._cells)
        self._turn += 1
        self._cells, self._space = cells, None
        self._form.typing.setEnabled(True)
        self._form.say_level(cells.level)
        self._form.problem.say("")
        if same:
            self._on_limit()  # the features of the mask were replaced
            return
        self.types, self.view = None, None
        self.clicked, self._offers, self.offered = {}, [], None
        self._form.summary.setText(f"{self._count_of(len(cells))}. Name two types, then click.")
        if last is not None and last.level != cells.level:
            self._form.table.setRowCount(0)
            self._hide(last)
            cells.layer.visible = True
        self._clear()

    def click(self, y: float, x: float) -> None:
        """Say that the cell there is of the chosen type, or, if it was said already, that not.

        Parameters
        ----------
        y, x
            World coordinates.
        """
        if self._cells is None:
            return
        name = self._form.table.chosen
        row = self._cells.row_at(*self._cells.layer.world_to_data((y, x))[-2:])
        if name is None or row is None:
            self._form.hint.setText(f"No {self._what} there." if name else "Add a type first.")
            return
        if self.clicked.get(row) == name:
            del self.clicked[row]
        else:
            self.clicked[row] = name
        if row == self.offered:
            self.offered = None
        self._say_chosen()
        self._marking.begin(self._show_marks())

    def type_all(self) -> None:
        """Type all cells from the clicked ones."""
        if self._cells is not None and not self._cells.has_tokens:
            self._form.problem.say("Compute tokens first: types are learnt from them.", "note")
        elif self._cells is not None:
            self._work(
                partial(
                    typed_by_clicks,
                    self._cells,
                    self._space,
                    dict(self.clicked),
                    self._order,
                    self._limit,
                )
            )

    def take(self, types: CellTypes) -> None:
        """Show types that a classifier gave."""
        if self._cells is None:
            return
        for name in types.classes:
            if name not in self._form.table.names:
                self._form.table.add(name)
        self._form.problem.say(types.warnings, "warning")
        self._work(partial(shown, self._cells, self._space, types, self._order, self._limit))

    def offer(self) -> None:
        """Go to the next cell whose type would say most."""
        if self._cells is None:
            return
        self._offers = [row for row in self._offers if row not in self.clicked]
        if not self._offers:
            self._form.problem.say(f"Type all {self._what}s: then some can be offered.", "note")
            return
        self.offered = self._offers.pop(0)
        self._offers.append(self.offered)
        centre = self._cells.layer.data_to_world(tuple(self._cells.centres_px[self.offered]))[-2:]
        step = float(np.abs(self._cells.layer.scale[-1]))
        across = ACROSS[self._cells.level] * self._cells.size_px * step
        self._viewer.scene.camera.center = (0, *centre)
        self._viewer.scene.camera.zoom = min(self._viewer.canvas.size) / across
        self._form.click_button.setChecked(True)
        self._say_offered(self.offered)
        self._marking.begin(self._show_marks())

    @property
    def _what(self) -> str:
        return "cell" if self._cells is None else self._cells.level

    def _count_of(self, count: int) -> str:
        return f"{count:,} {self._what}{'s' * (count != 1)}"

    @property
    def _order(self) -> tuple[str, ...]:
        return tuple(self._form.table.names)

    @property
    def _limit(self) -> float:
        return float(self._form.unsure.value())

    @property
    def _colors(self) -> list[str]:
        return [*self._form.table.colors.values(), UNSURE_COLOR]

    def _connect(self) -> None:
        form = self._form
        self._clicks.clicked.connect(self.click)
        form.click_button.toggled.connect(self._on_toggled)
        form.add_button.clicked.connect(self._add)
        form.name.returnPressed.connect(self._add)
        form.remove_button.clicked.connect(self._remove)
        form.type_button.clicked.connect(self.type_all)
        form.offer_button.clicked.connect(self.offer)
        form.unsure.valueChanged.connect(self._on_limit)
        form.table.renamed.connect(self._rename)
        form.table.recolored.connect(lambda: self._turns.begin(self._recolor()))
        form.table.itemSelectionChanged.connect(self._say_chosen)

    def _on_toggled(self, on: bool) -> None:  # noqa: FBT001 - Qt's signal
        self._clicks.on = on
        self._say_chosen()

    def _say_chosen(self) -> None:
        name = self._form.table.chosen
        if name is None:
            self._form.hint.setText("Name a type to begin.")
        elif self._form.click_button.isChecked():
            self._form.hint.setText(f"Click {self._what}s of the type {name!r} in the image.")
        else:
            button = self._form.click_button.text()
            self._form.hint.setText(f"Press {button!r}, then click some of the type {name!r}.")

    def _say_offered(self, row: int) -> None:
        if self.types is None or self._cells is None:
            return
        names = np.array(self.types.classes)
        chances = self.types.probabilities[row]
        best = np.argsort(-chances)[:2]
        said = " or ".join(f"{names[k]} ({chances[k]:.2f})" for k in best)
        self._form.hint.setText(
            f"{self._what.capitalize()} {self._cells.ids[row]}: {said}? Choose its type, then "
            "click it."
        )

    def _add(self) -> None:
        try:
            self._form.table.add(self._form.name.text())
        except InputError as error:
            self._form.problem.say(str(error))
            return
        self._form.problem.say("")
        self._form.name.clear()
        self._form.click_button.setChecked(True)

    def _remove(self) -> None:
        name = self._form.table.remove_chosen()
        if name is None:
            return
        self.clicked = {row: own for row, own in self.clicked.items() if own != name}
        self._turn += 1
        self.types, self.view, self._offers, self.offered = None, None, [], None
        if self._cells is not None:
            self._form.summary.setText(f"{self._count_of(len(self._cells))}.")
            self._clear()

    def _rename(self, old: str, new: str) -> None:
        self.clicked = {row: new if own == old else own for row, own in self.clicked.items()}
        if self.types is not None:
            classes = tuple(new if name == old else name for name in self.types.classes)
            self.types = replace(self.types, classes=classes)
            self._on_limit()

    def _on_limit(self, *_: Any) -> None:
        if self._cells is not None and self.types is not None:
            self._work(
                partial(shown, self._cells, self._space, self.types, self._order, self._limit)
            )

    def _work(self, work: Any) -> None:
        self._turn += 1
        self._form.background.run(partial(attempt, work), partial(self._on_typed, self._turn))

    def _on_typed(self, turn: int, outcome: "Outcome | VirtuesError") -> None:
        if turn != self._turn:
            return  # other cells, or later clicks
        if isinstance(outcome, VirtuesError):
            self._form.problem.say(str(outcome))
            return
        if outcome.view.types is not self.types:
            self._offers, self.offered = list(outcome.offers), None
        self._space, self.types, self.view = outcome.space, outcome.view.types, outcome.view
        if not self.types.warnings:
            self._form.problem.say("")
        self._turns.begin(self._show_types(outcome.view))

    def _show_types(self, view: TypedView) -> Steps:
        cells = self._cells
        if cells is None:
            return
        layer = types_layer(self._viewer, cells.image, cells.level)
        if layer is None:
            layer = new_types_layer(cells, view, self._colors, cells.level)
            yield
            outline(cells.layer, on=True)
            yield
            yield from self._insert(layer, cells.layer)
        else:
            layer.colormap = type_colormap(self._colors)
            yield
            layer.data = view.picture
            yield
            layer.features = legend(view, cells.level)
        yield
        yield from self._uncover(layer)
        cells.layer.features[f"{cells.level}_type"] = view.names.astype(object)
        cells.layer.features[f"{cells.level}_type_probability"] = view.types.probability
        yield
        self._count()
        self._marking.begin(self._show_marks())
        self.typed.emit()

    def _hide(self, cells: Cells) -> None:
        """Take what shows others, at another level, out of sight."""
        layers = self._viewer.layers
        for layer in (cells.layer, types_layer(self._viewer, cells.image, cells.level)):
            if layer in layers:
                layer.visible = False

    def _clear(self) -> None:
        self._turns.begin(self._remove_types())
        self._marking.begin(self._show_marks())

    def _remove_types(self) -> Steps:
        cells = self._cells
        old = None if cells is None else types_layer(self._viewer, cells.image, cells.level)
        if cells is not None and old is not None:
            self._viewer.layers.remove(old)
            outline(cells.layer, on=False)
        yield

    def _show_marks(self) -> Steps:
        cells = self._cells
        if cells is None:
            return
        self._count()
        layer = marks_layer(self._viewer, cells.image)
        if layer is None and not self.clicked:
            return
        if layer is None:
            layer = new_marks_layer(cells)
            yield
            yield from self._insert(layer)
        yield from self._uncover(layer)
        colors = self._form.table.colors
        marked = {row: colors[name] for row, name in self.clicked.items() if name in colors}
        show_marks(layer, cells, marked, self.offered)
        yield

    def _insert(self, layer: Any, above: Any = None) -> Steps:
        """Put a hidden layer on top, or below another."""
        self._covered.append(layer)
        layers = self._viewer.layers
        at = layers.index(above) if above in layers else len(layers)
        yield from self._turns.in_two(partial(layers.insert, at, layer))

    def _uncover(self, layer: Any) -> Steps:
        """Show a layer that these steps put in, or others that were cut short; select the mask."""
        if layer not in self._covered:
            return
        layers = self._viewer.layers
        if self._cells is not None and self._cells.layer in layers:
            layers.selection.active = self._cells.layer
        yield
        yield from self._turns.in_two(partial(_show, layer))
        self._covered.remove(layer)

    def _recolor(self) -> Steps:
        cells = self._cells
        layer = None if cells is None else types_layer(self._viewer, cells.image, cells.level)
        if layer is not None:
            layer.colormap = type_colormap(self._colors)
        yield
        self._marking.begin(self._show_marks())

    def _count(self) -> None:
        counts = {} if self.view is None else self.view.counts
        self._form.table.show_counts(Counter(self.clicked.values()), counts)
        if counts:
            total = sum(counts.values())
            unsure = f"{counts[UNSURE]:,} of them unsure"
            self._form.summary.setText(f"{self._count_of(total)}, {unsure}.")


def _show(layer: Any) -> None:
    layer.visible = True
