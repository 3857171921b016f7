"""The *Retrieve* dock: tissues of a database that are like the active image."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from qtpy.QtGui import QImage

from napari_virtues._reader import opening_layers
from napari_virtues._widgets import dialogs
from napari_virtues._widgets.background import attempt
from napari_virtues._widgets.match_cards import CompositionBar, TissueCard
from napari_virtues._widgets.retrieve_form import ACTIVE, START, RetrieveForm
from napari_virtues._widgets.turns import Steps, Turns
from napari_virtues.engine import Retrieved, RetrieveJob
from napari_virtues.retrieve_intent import (
    Described,
    RetrieveIntent,
    describe,
    retrieve_command,
    retrieve_job_of,
    told_of,
    type_colors,
)
from napari_virtues.space_cells import show
from napari_virtues.state import link_of
from napari_virtues.tissue_places import find_image, keep_folder, kept_folders
from virtues_core.errors import InputError, VirtuesError
from virtues_core.image import MultiplexImage
from virtues_core.markers import Panel
from virtues_core.read import read_image

if TYPE_CHECKING:
    from napari.layers import Layer

DATABASES = "Databases of tissues (*.db);;All files (*)"


class RetrieveDock(RetrieveForm):
    """Asks the engine for similar tissues, shows them as cards, opens those that are clicked."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:  # noqa: F821
        super().__init__(napari_viewer)
        self.database: Described | None = None
        """The open one."""
        self.result: Retrieved | None = None
        """The last one."""
        self._result_of: RetrieveJob | None = None
        self._opened: dict[str, MultiplexImage] = {}
        self._hidden: WeakSet[Layer] = WeakSet()
        self._turns = Turns(self)
        self.open_button.clicked.connect(self._pick_database)
        self.folder_button.clicked.connect(self._pick_folder)
        self.query_box.currentTextChanged.connect(self._on_query)
        self.image_changed.connect(self._on_query)
        self._on_query()

    def open_database(self, path: Path | str) -> None:
        """Open a database of tissues in the background."""
        self.about.setText("Opening…")
        self.background.run(partial(attempt, describe, Path(path)), self._on_database)

    def open_tissue(self, tissue_id: str) -> None:
        """Open the image of the query or of a match; answers as a click on its card does."""
        found = self.result
        if found is None:
            return
        places = {match.tissue_id: (match.source, match.image) for match in found.matches}
        places.setdefault(found.query.tissue_id, (found.query.source, found.query.image))
        known = self._opened.get(tissue_id)
        if known is not None and self.state.find(known) is None:
            known = None  # it was closed
        self.run.message.say(f"Opening {tissue_id}…", "note")
        work = partial(attempt, _open, tissue_id, *places[tissue_id], known)
        self.background.run(work, self._on_tissue)

    def _chosen(self) -> RetrieveIntent:
        if self.database is None:
            message = "no database is open; open one with 'Open database…', then search"
            raise InputError(message)
        text = self.query_box.currentText()
        if text != ACTIVE and text not in self.database.names:
            message = f"{self.database.path.name} has no tissue {text!r}; choose one of the list"
            raise InputError(message)
        return RetrieveIntent(
            database=self.database.path,
            query=self._active() if text == ACTIVE else text,
            patient=self.patient.text().strip() if text == ACTIVE else "",
            top=self.top.value(),
            where=self.where,
            same_patient=self.same_patient.isChecked(),
            checkpoint=self.model.checkpoint if text == ACTIVE else "demo",
            device=self.model.device,
        )

    def _job_of(self, intent: RetrieveIntent) -> RetrieveJob:
        return retrieve_job_of(intent)

    def _started(self, intent: Any, job: Any) -> None:
        super()._started(intent, job)
        self.command_button.setEnabled(True)

    def _command_of(self, job: RetrieveJob) -> str:
        found = self.result
        return retrieve_command(job, found if self._result_of is job else None)

    def _finish(self, result: Retrieved) -> None:
        self.result, self._result_of = result, self.job
        self._turns.begin(self._show(result))

    def _show(self, found: Retrieved) -> Steps:
        self.clear_cards()
        yield
        self.run.status.setText(told_of(found))
        colors = type_colors(found)
        known = {"patient": found.patient, **found.query.clinical}
        name = found.query.tissue_id or self.query_name
        self._add_card(f"Query: {name}", found.query.tissue_id, found.thumbnail,
                       known, found.query.composition, colors)  # fmt: skip
        yield
        for place, match in enumerate(found.matches, 1):
            title = f"{place}. {match.tissue_id}, distance {match.distance:.4g}"
            known = {"patient": match.patient_id, **match.clinical}
            self._add_card(
                title, match.tissue_id, match.thumbnail, known, match.composition, colors
            )
            yield
        self.list_types(colors)
        yield

    def _add_card(
        self,
        title: str,
        tissue_id: str,
        png: bytes,
        known: dict[str, Any],
        shares: Any,
        colors: dict[str, str],
    ) -> None:
        picture = QImage.fromData(png)  # null where there is none, or none that can be shown
        picture = None if picture.isNull() else picture
        bar = CompositionBar(shares, colors) if shares else None
        told = {column: value for column, value in known.items() if value != ""}
        card = TissueCard(title, picture, told, bar)
        if tissue_id:
            card.asked.connect(partial(self.open_tissue, tissue_id))
        self.cards.addWidget(card)

    def _on_database(self, found: "Described | VirtuesError") -> None:
        if isinstance(found, VirtuesError):
            self.about.setText(START if self.database is None else self.database.told)
            self.run.message.say(str(found))
            return
        self.run.message.say("")
        self.database = found
        self.about.setText(found.told)
        self.list_tissues(found.names)
        self.list_filters(found.values)
        self.model.choose(found.checkpoint)
        self._on_query()

    def _on_tissue(self, found: "_Found | VirtuesError") -> None:
        if isinstance(found, VirtuesError):
            self.run.message.say(str(found))
            return
        self.run.message.say("")
        self._opened[found.tissue_id] = found.image
        self._turns.begin(self._bring_forward(found))

    def _bring_forward(self, found: "_Found") -> Steps:
        """Show the image alone: what shows other images is hidden, not closed."""
        for layer in list(self.viewer.layers):
            link = link_of(layer)
            if link is not None and link.image is not found.image and layer.visible:
                layer.visible = False
                self._hidden.add(layer)
                yield
        opened = self.state.add(found.image, found.panel)
        yield
        units = next((x.units for x in self.viewer.layers if x.ndim == 2), None)
        for layer in found.layers:
            if units is not None:
                layer.units = units  # napari shows layers of one unit alone
            yield from self._turns.in_two(partial(self.viewer.layers.append, layer))
        for layer in list(self.viewer.layers):
            link = link_of(layer)
            ours = layer in self._hidden or layer in found.layers
            if ours and link is not None and link.image is found.image:
                self._hidden.discard(layer)
                yield from self._turns.in_two(partial(show, layer))
        self.state.active = opened
        yield
        self.viewer.reset_view()
        yield

    @property
    def query_name(self) -> str:
        """Name of what is searched for."""
        text = str(self.query_box.currentText())
        opened = self.state.active
        return text if text != ACTIVE else opened.image.name if opened is not None else ""

    def _on_query(self, *_: Any) -> None:
        """Say which fields count for this query."""
        of_image = self.query_box.currentText() == ACTIVE
        self.model.setEnabled(of_image)
        self.patient.setEnabled(of_image)
        ready = self.database is not None and (not of_image or self.state.active is not None)
        self.run.run_button.setEnabled(ready and not self.run.busy)

    def _pick_database(self) -> None:
        dialogs.ask_open(self, "Database of tissues", DATABASES, self.open_database)

    def _pick_folder(self) -> None:
        dialogs.ask_any_folder(self, "Folder of the images", self.look_in)

    def look_in(self, folder: Path | str) -> None:
        """Look for images that are not where the database says in this folder too."""
        self.background.run(partial(attempt, keep_folder, Path(folder)), self._on_kept)

    def _on_kept(self, outcome: Any) -> None:
        self.run.message.say(str(outcome) if isinstance(outcome, VirtuesError) else "")


@dataclass(frozen=True, eq=False)
class _Found:
    """A tissue's image, ready to be shown."""

    tissue_id: str
    image: MultiplexImage
    panel: Panel | None = None
    """None where it is open."""
    layers: "tuple[Layer, ...]" = ()
    """Hidden; none where it is open."""


def _open(tissue_id: str, source: str, name: str, known: MultiplexImage | None) -> _Found:
    """Read the image of a tissue and make its layers; not for the window's thread."""
    from napari.layers import Layer

    if known is not None:
        return _Found(tissue_id, known)
    if source and Path(source).exists():
        image = read_image(Path(source), name or None)
    else:
        image = find_image(tissue_id, source, kept_folders())
    layers = [Layer.create(*described) for described in opening_layers(image)]
    for layer in layers:
        layer.name = f"{layer.name} · {tissue_id}"
        layer.visible = False  # each is shown in a turn of its own
    return _Found(tissue_id, image, Panel.from_names(image.channels), tuple(layers))
